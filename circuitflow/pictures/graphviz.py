"""A DOT file laid out and drawn by Graphviz, in a process of its own.

Graphviz is C that keeps its state in globals and writes warnings to standard error: here it cannot disturb threads,
the terminal, or the program itself.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from circuitflow.errors import CircuitflowError, MissingExtraError

_PROGRAM = """
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""


def render(dot: str, form: str) -> bytes:
    """A picture of the text of a DOT file, as "svg", "png" or "pdf".

    Raises:
        MissingExtraError: pygraphviz is not installed.
        CircuitflowError: Graphviz could not draw it.
    """
    if find_spec("pygraphviz") is None:
        raise MissingExtraError("pictures are laid out by Graphviz: pip install 'circuitflow[draw]'; DOT and Mermaid "
                                "(-o FILE.dot, -o FILE.mmd) need nothing")
    process = subprocess.run([sys.executable, "-I", "-c", _PROGRAM, form], input=dot.encode(), capture_output=True,  # noqa: S603
                             check=False)
    if process.returncode or not process.stdout:
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise CircuitflowError(f"Graphviz could not draw the picture: {last[:200]!r}")
    return process.stdout
