"""Times functions side by side: in one run, in turn, by medians of ratios."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


@dataclass(frozen=True)
class Case:
    """One piece of work that circuitflow and its peers do.

    Attributes:
        work: what is done.
        unit: the unit that a time is for, such as "call" or "gate".
        units: how many units one call does.
        ours: does the work and returns numbers to compare.
        peers: makes the functions of the peers, by name; it imports them.
        most: the largest ratio of our time to that of each peer; for names joined by "|", to the fastest of them.
        rounds: how many times everything is timed.
        rtol: how far results may differ.
        once: whether a round calls the functions only once.
    """

    work: str
    unit: str
    units: int
    ours: Callable[[], Any]
    peers: Callable[[], Mapping[str, Callable[[], Any]]]
    most: Mapping[str, float]
    rounds: int = 15
    rtol: float = 1e-9
    once: bool = False


@dataclass(frozen=True)
class Line:
    """A line of the table. Times are in nanoseconds a unit."""

    work: str
    unit: str
    ours: float
    peer: str
    theirs: float
    ratio: float
    most: float | None


def flat(result: Any) -> np.ndarray[Any, Any]:
    """All numbers of a result, whatever it is made of."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return np.concatenate([flat(x) for x in result]) if result else np.empty(0)
    if hasattr(result, "detach"):
        result = result.detach().numpy()
    return np.ravel(np.asarray(result, np.float64))


def compare(case: Case) -> list[Line]:
    """Check that all agree, then time them in turn."""
    expected = flat(case.ours())
    peers = case.peers()
    for name, peer in peers.items():
        found = flat(peer())
        scale = np.max(np.abs(expected), initial=0)
        np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=case.rtol * scale, err_msg=name)
    everyone = {"": case.ours, **peers}
    repeats = {name: 1 if case.once else _repeats(function) for name, function in everyone.items()}
    times: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(case.rounds):
        for name, function in everyone.items():
            times[name].append(_time(function, repeats[name]) / case.units * 1e9)
    best = min(peers, key=lambda name: statistics.median(times[name]), default="")
    lines = []
    for name in peers:
        bounds = [most for names, most in case.most.items() if name in names.split("|")
                  and (name == best or "|" not in names)]
        ratios = [ours / theirs for ours, theirs in zip(times[""], times[name], strict=True)]
        lines.append(Line(case.work, case.unit, statistics.median(times[""]), name, statistics.median(times[name]),
                          statistics.median(ratios), min(bounds, default=None)))
    return lines or [Line(case.work, case.unit, statistics.median(times[""]), "", 0, 0, None)]


def _repeats(function: Callable[[], Any]) -> int:
    """The number of calls that takes about 100 ms, so that memory has settled."""
    count = 1
    while (taken := _time(function, count) * count) < 0.005:
        count *= 4
    return max(1, round(count * 0.1 / taken))


def _time(function: Callable[[], Any], repeats: int) -> float:
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    taken = time.perf_counter() - start
    gc.enable()
    return taken / repeats


def put(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def table(lines: Sequence[Line], memory: Mapping[str, float]) -> str:
    """The lines as Markdown."""
    rows = ["| work | ours | beside | theirs | ratio | at most | peak memory |", "|---|---|---|---|---|---|---|"]
    last = None
    for line in lines:
        work = line.work if line.work != last else ""
        ours = f"{_shown(line.ours)} a {line.unit}" if work else ""
        peak = f"{memory[line.work]:.0f} MiB" if work and line.work in memory else ""
        last = line.work
        most = "" if line.most is None else f"{line.most:g}" + ("" if line.ratio <= line.most else " (missed)")
        rows.append(f"| {work} | {ours} | {line.peer} | {_shown(line.theirs) if line.peer else ''} | "
                    f"{f'{line.ratio:.2g}' if line.peer else ''} | {most} | {peak} |")
    return "\n".join(rows)


def _shown(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"
