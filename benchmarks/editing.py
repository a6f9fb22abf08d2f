"""Measures the language server as an editor meets it: `python -m benchmarks.editing [NODES]`. It needs the extra `lsp`.

The editor opens a document, misspells a gate and mends it, changes a number, and changes it back while the values are
still computed, again and again. Each time goes from the message to the diagnostics of that version, by the clock and of
CPU in the server and its processes. Values come later, as inlay hints. All times are the best of some rounds.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

ROUNDS = 5
URI = (Path(__file__).parent / "measured.json").as_uri()  # which does not exist: the text is what counts
Times = tuple[float, float]
UNARY = ("tanh", "sigmoid", "sin", "neg")


def chain(count: int) -> list[dict[str, Any]]:
    """Scalar gates one after the other."""
    return [{"id": "x", "gate": "parameter", "value": 0.5},
            *({"id": f"g{i}", "gate": UNARY[i % 4], "inputs": [f"g{i - 1}" if i else "x"]} for i in range(count - 1))]


def wide(count: int) -> list[dict[str, Any]]:
    """Many scalar parameters, sums and products of two, and one sum."""
    width = count // 4
    nodes: list[dict[str, Any]] = [{"id": f"x{i}", "gate": "parameter", "value": i / width} for i in range(width)]
    for i in range(count - width - 1):
        a, b = nodes[i]["id"], nodes[(7 * i + 1) % len(nodes)]["id"]
        nodes.append({"id": f"g{i}", "gate": ("mul", "add", "sub", "max")[i % 4], "inputs": [a, b]})
    return [*nodes, {"id": "f", "gate": "add", "inputs": [node["id"] for node in nodes[-width:]]}]


def tensors(count: int) -> list[dict[str, Any]]:
    """Layers of a network with skips, of matrices of 8 by 8 and their numbers."""
    nodes: list[dict[str, Any]] = [{"id": "h0", "gate": "input", "value": _numbers(4, 8)}]
    for i in range((count - 2) // 5):
        nodes += [{"id": f"w{i}", "gate": "parameter", "value": _numbers(8, 8)},
                  {"id": f"b{i}", "gate": "parameter", "value": _numbers(1, 8)[0]},
                  {"id": f"p{i}", "gate": "matmul", "inputs": [f"h{i}", f"w{i}"]},
                  {"id": f"s{i}", "gate": "add", "inputs": [f"p{i}", f"b{i}"]},
                  {"id": f"h{i + 1}", "gate": "tanh", "inputs": [f"s{i}"]}]
    return [*nodes, {"id": "f", "gate": "reduce_mean", "inputs": [f"h{(count - 2) // 5}"]}]


def _numbers(rows: int, columns: int) -> list[list[float]]:
    return [[(3 * i + 5 * j) % 7 / 10 - 0.3 for j in range(columns)] for i in range(rows)]


def text_of(nodes: list[dict[str, Any]]) -> str:
    """The document, one node a line."""
    lines = ",\n    ".join(map(json.dumps, nodes))
    return f'{{\n  "circuitflow": "1.0",\n  "nodes": [\n    {lines}\n  ],\n  "outputs": ["{nodes[-1]["id"]}"]\n}}\n'


class Editor(LanguageClient):
    """An editor that notes when diagnostics come."""

    def __init__(self) -> None:
        """An editor without a server."""
        super().__init__("editor", "1")
        self.version = 0
        self.arrived: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

        @self.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params: types.PublishDiagnosticsParams) -> None:
            self.arrived.put_nowait(params)

    async def open(self, text: str) -> Times:
        """Open a document."""
        self.version += 1
        return await self._timed(lambda: self.text_document_did_open(types.DidOpenTextDocumentParams(
            types.TextDocumentItem(URI, "json", self.version, text))))

    async def change(self, text: str) -> Times:
        """Change the document."""
        self.version += 1
        identifier = types.VersionedTextDocumentIdentifier(version=self.version, uri=URI)
        return await self._timed(lambda: self.text_document_did_change(types.DidChangeTextDocumentParams(
            identifier, [types.TextDocumentContentChangeWholeDocument(text)])))

    async def values(self) -> None:
        """Wait until values are there too, and ask for those of a window."""
        await self._shown()
        window = types.Range(types.Position(0, 0), types.Position(50, 0))
        await self.text_document_inlay_hint_async(types.InlayHintParams(types.TextDocumentIdentifier(URI), window))

    async def _timed(self, tell: Callable[[], None]) -> Times:
        start, cpu = time.perf_counter(), cpu_time(self._server.pid)
        tell()
        await self._shown()
        return time.perf_counter() - start, cpu_time(self._server.pid) - cpu

    async def _shown(self) -> None:
        while (await self.arrived.get()).version != self.version:
            pass


def cpu_time(process: int) -> float:
    """Seconds of CPU that a process and its living children took; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = [child for task in Path(f"/proc/{process}/task").iterdir()
                    for child in (task / "children").read_text().split()]
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_time(int(child)) for child in children)


async def measured(text: str) -> dict[str, list[Times]]:
    """The times for each kind of message."""
    editor = Editor()
    await editor.start_io(sys.executable, "-m", "circuitflow", "lsp")
    await editor.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    editor.initialized(types.InitializedParams())
    await editor.open(text_of(chain(3)))
    await editor.values()
    editor.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
    number, gate = text.index("0.") + 2, text.index('"gate": "', len(text) // 2) + 9
    found = defaultdict(list)
    found["opened"].append(await editor.open(text))
    await editor.values()
    for i in range(ROUNDS):
        found["a mistake"].append(await editor.change(f"{text[:gate]}q{text[gate:]}"))
        start = time.perf_counter()
        found["its correction"].append(await editor.change(text))
        await editor.values()
        found["its values"].append((time.perf_counter() - start, math.nan))
        found["a number"].append(await editor.change(f"{text[:number]}{i}{text[number + 1:]}"))
        found["while it computes"].append(await editor.change(text))
        await editor.values()
    await editor.shutdown_async(None)
    editor.exit(None)
    await editor.stop()
    return found


def main() -> None:
    """Print a line for each document and message."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for make in (chain, wide, tensors):
        nodes = make(count)
        text = text_of(nodes)
        print(f"{make.__name__}, {len(nodes):,} nodes, {len(text) / 2**20:.2f} MiB")
        for kind, times in asyncio.run(measured(text)).items():
            clock, cpu = (1000 * min(row) for row in zip(*times, strict=True))
            print(f"  {kind:<18} {clock:6.0f} ms by the clock" + f", {cpu:6.0f} ms of CPU" * (cpu == cpu))


if __name__ == "__main__":
    main()
