"""How long `circuitflow run` takes to start, beside the import of its three main libraries.

    python -m benchmarks.starting [ROUNDS]

Each round starts both programs one after the other; the ratio is the median over the rounds. CPU time is what a process
and its threads compute, and hardly depends on what else the machine does; time by the clock does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARIES = [sys.executable, "-c", "import numpy, pydantic, networkx"]
RUN = [sys.executable, "-m", "circuitflow", "run", "circuits/sigmoid_neuron.json"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """The program."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for command in (LIBRARIES, RUN):  # so that bytecode and files are warm
        seconds(command)
    pairs = [(seconds(RUN), seconds(LIBRARIES)) for _ in range(rounds)]
    for i, kind in enumerate(("by the clock", "of CPU time")):
        run, libraries = (statistics.median(pair[side][i] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(pair[0][i] / pair[1][i] for pair in pairs)
        print(f"{kind}: run {run:.3f} s, its libraries {libraries:.3f} s, ratio {ratio:.2f} (median of {rounds})")


def seconds(command: list[str]) -> tuple[float, float]:
    """The time of a command, by the clock and of CPU."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)  # noqa: S603
    clock, after = time.perf_counter() - start, os.times()
    return clock, (after.children_user + after.children_system) - (before.children_user + before.children_system)


main()
