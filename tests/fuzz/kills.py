"""Kills fits at random moments, starts them again, and compares what they leave with what an undisturbed fit leaves.

    python tests/fuzz/kills.py [squares] [loss] [training] [--kills 200] [--seed 0]

The fits are least squares over many rows, a loss with starts, and a training. A kill is SIGKILL. The document and the
history must be those of the undisturbed fit, byte by byte.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-m", "circuitflow"]


def prepare(folder: Path) -> dict[str, list[str]]:
    """Documents and data in a folder; the commands by name."""
    random_numbers = np.random.default_rng(0)
    t = np.linspace(0, 5, 300_000)
    y = 2 * np.exp(-0.7 * t) + 0.5 + random_numbers.normal(0, 0.05, t.size)
    np.savetxt(folder / "rows.csv", np.column_stack([t, y]), delimiter=",", header="t,y", comments="")
    few = slice(None, None, 100)
    np.savetxt(folder / "few.csv", np.column_stack([t[few], y[few]]), delimiter=",", header="t,y", comments="")
    squares = [*PROGRAM, "new", "r = a + b * exp(-c * t) - y", "--set", "a=0", "--set", "b=1", "--set", "c=3",
               "--parameters", "a,b,c", "-o", "squares.json"]
    loss = [*PROGRAM, "new", "f = log(1 + (a + b * exp(-c * t) - y)**2)", "--set", "a=0", "--set", "b=1", "--set",
            "c=3", "--parameters", "a,b,c", "-o", "loss.json"]
    for command in (squares, loss):
        subprocess.run(command, cwd=folder, check=True)
    for name in ("spiral.json", "spiral.csv"):
        shutil.copy(ROOT / "circuits" / name, folder)
    return {"squares": ["squares.json", "rows.csv", "--residuals", "r"],
            "loss": ["loss.json", "few.csv", "--loss", "f", "--starts", "40"],
            "training": ["spiral.json", "--epochs", "300"]}


def start(folder: Path, arguments: list[str], output: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a fit that leaves a document and a history."""
    return subprocess.Popen([*PROGRAM, "fit", *arguments, "-o", f"{output}.json", "--history", f"{output}.csv", *more],
                            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def left(folder: Path, output: str) -> list[bytes]:
    """What a fit leaves."""
    return [(folder / f"{output}.{ending}").read_bytes() for ending in ("json", "csv")]


def main() -> int:
    """The program; its exit status is 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fits", nargs="*", help="all by default")
    parser.add_argument("--kills", type=int, default=200, help="of every fit")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw, differences = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, command in prepare(folder).items():
            if arguments.fits and name not in arguments.fits:
                continue
            begin = time.monotonic()
            if start(folder, command, "whole").wait() not in (0, 1):
                raise SystemExit(f"{name}: the undisturbed fit failed")
            seconds, whole = time.monotonic() - begin, left(folder, "whole")
            kills = runs = 0
            while kills < arguments.kills:
                runs += 1
                shutil.rmtree(folder / "run", ignore_errors=True)
                while True:
                    fit = start(folder, command, "out", "--checkpoint", "run")
                    try:
                        status = fit.wait(draw.uniform(0.2, 1.1) * seconds)
                    except subprocess.TimeoutExpired:
                        fit.kill()
                        fit.communicate()
                        kills += 1
                        continue
                    break
                errors = fit.communicate()[1].decode()
                if status not in (0, 1) or left(folder, "out") != whole:
                    differences += 1
                    print(f"{name}, run {runs} after {kills} kills: status {status}, or another result; {errors}")
                for ending in ("json", "csv"):
                    (folder / f"out.{ending}").unlink(missing_ok=True)
            print(f"{name}: {kills} kills in {runs} runs, of {seconds:.1f} s undisturbed", flush=True)
    print(f"{differences} differences")
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main())
