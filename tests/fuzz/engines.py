"""Compares every way of running random circuits with the interpreter, and the interpreter with JAX.

    python tests/fuzz/engines.py --seconds 600 --jobs 2
    python tests/fuzz/engines.py --replay engines_fault_1a2b3c4d5e.json

What differs is made smaller and written to a file. The exit status is 1 if something differed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from cases import Case  # noqa: E402
from circuits import draw_case  # noqa: E402
from shrinking import SECONDS, shrunk  # noqa: E402
from ways import WAYS, Fault, Tally, go  # noqa: E402

OFTEN = 8
"""Of a fault that was found so often, further cases are made smaller for a shorter time."""

STUCK = 120.0
"""Seconds after which a case that is still running counts as stuck."""


@dataclass
class Found:
    """A fault, the case made smaller, other ways that had the same, and where it came from."""

    case: Case
    fault: Fault
    likewise: list[str]
    seed: int
    index: int

    def signature(self) -> str:
        """What makes it unlike others: the way, the kind, and the gates of the small case."""
        gates = sorted({node["gate"] for node in self.case.document["nodes"]} - {"input", "parameter", "constant"})
        return f"{self.fault.way}, {self.fault.kind}: {' '.join(gates)}" + (f" with own "
                                                                            f"{' '.join(sorted(self.case.own))}"
                                                                            if self.case.own else "")

    def write(self, folder: Path) -> Path:
        """A file from which `--replay` runs it again."""
        written = {"fault": asdict(self.fault), "likewise": self.likewise, "seed": self.seed, "index": self.index,
                   "case": self.case.written()}
        name = hashlib.sha256(self.signature().encode()).hexdigest()[:10]
        path = folder / f"engines_fault_{name}.json"
        path.write_text(json.dumps(written, indent=1) + "\n")
        return path


@dataclass
class Report:
    """What came of some cases."""

    cases: int = 0
    tally: Tally = field(default_factory=Tally)
    found: list[Found] = field(default_factory=list)


def ways_of(seed: int, index: int, engines: Sequence[str] | None) -> list[str]:
    """The ways that a case goes: slow ones are drawn for few cases."""
    pick = random.Random(f"ways {seed} {index}")
    drawn = {name: pick.random() < way.share for name, way in WAYS.items()}
    return [name for name in WAYS if (drawn[name] if engines is None else any(engine in name for engine in engines))]


def is_low(thresholds: str, index: int) -> bool:
    return thresholds == "low" or (thresholds == "both" and index % 2 == 0)


def one(seed: int, index: int, thresholds: str, engines: Sequence[str] | None, report: Report, known: set[str]) -> None:
    """Draw a case, go all ways, and make what differs smaller."""
    case = draw_case(seed, index, low=is_low(thresholds, index))
    report.cases += 1
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in go(case, ways_of(seed, index, engines), report.tally):
        alike.setdefault((fault.kind, fault.sentence), []).append(fault)
    for first, *others in alike.values():
        rough = f"{first.way} {first.kind} {first.sentence.split(':')[0] if first.kind == 'error' else ''}"
        seconds = SECONDS if sum(text.startswith(rough) for text in known) < OFTEN else SECONDS / 8
        found = Found(*shrunk(case, first, seconds), [fault.way for fault in others], seed, index)
        known.add(f"{rough} {found.signature()}")
        report.found.append(found)


def fuzz(seed: int, indices: Sequence[int], thresholds: str = "both", engines: Sequence[str] | None = None) -> Report:
    """The cases of these numbers."""
    report, known = Report(), set[str]()
    for index in indices:
        one(seed, index, thresholds, engines, report, known)
    return report


# Processes
# -----------------------------------------------------------------------------------------------------------------


def work(queue: Any, options: argparse.Namespace, first: int, end: float) -> None:
    """Cases one after the other until time is over; each is announced before it runs, so that one that hangs is
    known."""
    index, known = first, set[str]()
    while time.monotonic() < end:
        queue.put((first % options.jobs, index, None))
        report = Report()
        one(options.seed, index, options.thresholds, options.engine, report, known)
        queue.put((first % options.jobs, index, report))
        index += options.jobs
        if "jax" in sys.modules and index // options.jobs % 100 == 0:  # compiled code that nothing holds any more
            sys.modules["jax"].clear_caches()
    queue.put((first % options.jobs, None, None))


class Workers:
    """Processes that work; one that hangs or dies is started again after the case at fault."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.context = options, multiprocessing.get_context("spawn")
        self.queue, self.end = self.context.Queue(), time.monotonic() + options.seconds
        self.at: dict[int, tuple[int, float]] = {}
        self.processes: dict[int, Any] = {}
        for job in range(options.jobs):
            self.start(job, job)

    def start(self, job: int, first: int) -> None:
        self.at[job] = first, time.monotonic()
        self.processes[job] = self.context.Process(target=work, args=(self.queue, self.options, first, self.end),
                                                   daemon=True)
        self.processes[job].start()

    def run(self, take: Callable[[Report], bool]) -> None:
        """Take reports until all processes are done, or until enough is said to have been taken."""
        while self.processes:
            try:
                job, index, report = self.queue.get(timeout=5)
            except Empty:
                self.look()
                continue
            if index is None:
                self.processes.pop(job, None)
            elif report is None:
                self.at[job] = index, time.monotonic()
            elif take(report):
                break
            self.look()
        for process in self.processes.values():
            process.kill()

    def look(self) -> None:
        """Whether a process hangs or died."""
        for job, process in list(self.processes.items()):
            index, since = self.at[job]
            is_stuck = time.monotonic() - since > STUCK
            if not is_stuck and (process.is_alive() or process.exitcode == 0):
                continue
            process.kill()
            case = draw_case(self.options.seed, index, low=is_low(self.options.thresholds, index))
            sentence = (f"still running after {STUCK:.0f} s" if is_stuck else
                        f"the process died with status {process.exitcode}")
            fault = Fault("any of " + ", ".join(ways_of(self.options.seed, index, self.options.engine)),
                          "stuck" if is_stuck else "died", sentence)
            self.queue.put((job, index, Report(1, found=[Found(case, fault, [], self.options.seed, index)])))
            self.start(job, index + self.options.jobs)


# The command
# ---------------------------------------------------------------------------------------------------------------


def summary(total: Report, seconds: float, signatures: dict[str, int]) -> str:
    """Counts by way, and what was found."""
    tally = total.tally
    lines = [f"{'way':24}{'compared':>12}{'explained':>11}{'refused':>9}{'errors':>8}{'other words':>13}{'held':>10}"]
    lines += [
        f"{name:24}{tally.compared[name]:12,}{tally.explained[name]:11,}{tally.refused[name]:9,}{tally.errors[name]:8,}"
              f"{tally.messages[name]:13,}{tally.held[name]:10,}" for name in WAYS]
    compared = sum(tally.compared.values())
    lines.append(f"{total.cases:,} circuits, {compared:,} comparisons in {seconds:.0f} s, "
                 f"{compared / max(seconds, 1e-9):.0f} a second; "
                 f"{sum(tally.explained.values()):,} differ by more than a few last digits and no more than rounding "
                 f"explains")
    lines.append(f"{sum(signatures.values())} faults, {len(signatures)} of them unlike one another" if signatures
                 else "no difference")
    return "\n".join(lines)


def replay(path: str) -> int:
    """Run the case of a file again."""
    written = json.loads(Path(path).read_text())
    case, way = Case.read(written["case"]), written["fault"]["way"]
    found = go(case, [way] if way in WAYS else list(WAYS), Tally())
    for fault in found:
        print(f"{fault.way}, {fault.kind}, call {fault.call}: {fault.sentence}")
    if not found:
        print("no difference")
    return int(bool(found))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--comparisons", type=int, default=sys.maxsize, help="stop after so many")
    parser.add_argument("--thresholds", choices=("low", "default", "both"), default="both")
    parser.add_argument("--engine", action="append",
                        help="ways whose names contain this; may be repeated; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--folder", type=Path, default=Path(), help="where faults are written")
    parser.add_argument("--replay", metavar="FILE", help="run the case of a file again")
    options = parser.parse_args(arguments)
    if options.replay:
        return replay(options.replay)
    options.folder.mkdir(parents=True, exist_ok=True)
    total, signatures, start = Report(), dict[str, int](), time.monotonic()
    shown = start

    def take(report: Report) -> bool:
        nonlocal shown
        total.cases += report.cases
        total.tally.add(report.tally)
        for found in report.found:
            signature = found.signature()
            signatures[signature] = signatures.get(signature, 0) + 1
            if signatures[signature] == 1:
                print(f"{signature}\n    {found.fault.sentence[:300]}"
                      + (f"; likewise {', '.join(found.likewise)}" if found.likewise else "")
                      + f"\n    {found.write(options.folder)}", flush=True)
        compared = sum(total.tally.compared.values())
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            print(f"{shown - start:.0f} s: {total.cases:,} circuits, {compared:,} comparisons, "
                  f"{sum(signatures.values())} faults", flush=True)
        return compared >= options.comparisons

    Workers(options).run(take)
    print(summary(total, time.monotonic() - start, signatures))
    return int(bool(signatures))


if __name__ == "__main__":
    sys.exit(main())
