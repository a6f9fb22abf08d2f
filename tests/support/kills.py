"""Kills a program while it writes, and looks at what is left: `python tests/support/kills.py 200`."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import sys
from circuitflow.document.output import write
print("ready", flush=True)
while True:
    for letter in "ab":
        write(sys.argv[1], letter * 5_000_000)
"""


def kill_while_writing(target: Path, times: int) -> list[str]:
    """What was found that is neither the old nor the new file, whole."""
    wrong = []
    for i in range(times):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        if target.exists():
            text = target.read_text()
            if text not in ("a" * 5_000_000, "b" * 5_000_000):
                wrong.append(f"kill {i + 1}: {len(text)} characters, {sorted(set(text))}")
        for part in target.parent.glob(".circuitflow.*.part"):
            part.unlink()
    return wrong


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        found = kill_while_writing(Path(folder) / "out", count)
    print(f"{count} kills, {len(found)} files that were neither old nor new", *found, sep="\n")
    sys.exit(bool(found))
