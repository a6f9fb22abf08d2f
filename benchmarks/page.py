"""Measures the living page in Chromium, as a slider moves: `python -m benchmarks.page`. It needs Playwright.

The passes are the circuit's code. A repaint is all that follows a move: the passes, every number on a wire, the panels,
and the browser's style and layout; what the browser then draws on the screen is its own. Medians, in milliseconds.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import circuitflow as cf
from circuitflow.graph.circuit import Circuit

ROOT = Path(__file__).parent.parent
MOVES = 60


def chain(gates: int) -> str:
    """A document of scalar gates one after the other, which Graphviz lays out in seconds."""
    nodes: list[dict[str, object]] = [{"id": "x", "gate": "parameter", "value": 0.5}]
    nodes += [{"id": f"g{i}", "gate": ("tanh", "sigmoid", "sin", "neg")[i % 4], "inputs": [f"g{i - 1}" if i else "x"]}
              for i in range(gates)]
    return json.dumps({"circuitflow": "1.0", "name": "chain", "nodes": nodes, "outputs": [f"g{gates - 1}"]})


CASES = {"1,000 scalar gates": (cf.loads, chain(1000)), "mlp": (cf.load, ROOT / "circuits/mlp.json")}

_MEASURE = """(moves) => {
    const frame = requestAnimationFrame, code = circuitflowModule.value, passes = [], repaints = [];
    let flush;
    window.requestAnimationFrame = (act) => { flush = act; return 0; };
    circuitflowModule.value = (inputs) => {
        const start = performance.now(), outputs = code(inputs);
        passes.push(performance.now() - start);
        return outputs;
    };
    const slider = document.querySelector("#sources input[type=range]");
    for (let i = 0; i < moves; i++) {
        slider.value = Number(slider.min) + (slider.max - slider.min) * ((i * 7) % 10) / 10;
        slider.dispatchEvent(new Event("input"));
        const start = performance.now();
        flush(start);
        document.querySelector("#picture").getBoundingClientRect();
        repaints.push(performance.now() - start);
    }
    circuitflowModule.value = code;
    window.requestAnimationFrame = frame;
    return {passes, repaints};
}"""


def main() -> None:
    """Print a line for each circuit."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (read, source) in CASES.items():
            circuit: Circuit = read(source)
            path = Path(folder, "page.html")
            path.write_bytes(cf.draw(cf.Executor(circuit).run(), "html", depth=0))
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.goto(path.as_uri())
            times = page.evaluate(_MEASURE, MOVES)
            passes, repaint = (statistics.median(times[kind]) for kind in ("passes", "repaints"))
            print(f"{name}: both passes {passes:.2f} ms, repaint {repaint:.1f} ms, page {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
