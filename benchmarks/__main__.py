"""Runs everything side by side, prints the table and writes it into docs/explanation/performance.md.

    python -m benchmarks [PART …]

Parts are calls, dags, columns, networks, recurrent, mixtures, training, memory, loading, models, exported and
fitting; all by default. Without parts the page's table is written. A ratio is the median over rounds of our time to
the peer's in the same round. A time is a median too.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "1")

from benchmarks.measure import compare, put, table

PARTS = ("calls", "dags", "columns", "networks", "recurrent", "mixtures", "training", "memory", "loading", "models",
         "exported", "fitting")
ROOT = Path(__file__).parent.parent


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--memory", metavar="N", type=int, help="only run case N of a part, and print its peak memory")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    if arguments.memory is not None:
        print(_peak(arguments.parts[0], arguments.memory))
        return
    lines, memory = [], {}
    for part in arguments.parts or PARTS:
        for i, case in enumerate(import_module(f"benchmarks.{part}").cases()):
            print(f"{case.work} …", file=sys.stderr, flush=True)
            found = compare(case)
            lines += found
            result = subprocess.run([sys.executable, "-m", "benchmarks", part, "--memory", str(i)],  # noqa: S603
                                    capture_output=True, text=True, check=True)
            memory[case.work] = float(result.stdout)
    peers = ("numpy", "scipy", "numba", "torch", "jax", "casadi", "autograd")
    where = (f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
             + ", ".join(f"{name} {version(name).partition('+')[0]}" for name in peers))
    text = f"By `python -m benchmarks` on {where}:\n\n{table(lines, memory)}"
    print(text)
    if not arguments.parts:
        put(ROOT / "docs/explanation/performance.md", text)


def _peak(part: str, wanted: int) -> float:
    """Peak memory in MiB of a process that does only our part of a case."""
    for i, case in enumerate(import_module(f"benchmarks.{part}").cases()):
        if i == wanted:
            case.ours()
            break
    status = Path("/proc/self/status")
    if status.exists():  # here getrusage may give the parent's
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)


main()
