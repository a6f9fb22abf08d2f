"""A target for atheris: whatever bytes come, circuitflow reads them, or says why not.

    pip install -e '.[fuzz]'
    python tests/fuzz/target.py --seconds 3600

The first byte chooses what the others are: a document, an expression, a circuit with a few bytes changed, or a tensor
file.
What is read is run, differentiated, explained, drawn as text, compiled and written out again. Nothing may be raised but
circuitflow's own
errors, and no error may show a character that a terminal obeys. What libFuzzer takes (`-max_len=…`) follows `--`.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["circuitflow"]):
    import circuitflow as cf
    from circuitflow.graph.bounds import check_start
    from circuitflow.pictures.drawing import draw
    from circuitflow.pictures.overview import overview

ROOT = Path(__file__).resolve().parents[2]
FITTED = json.dumps({"circuitflow": "1.1", "outputs": ["r"], "nodes": [
    {"id": "x", "gate": "input", "value": 1}, {"id": "r", "gate": "mul", "inputs": ["x", "w"]},
    {"id": "w", "gate": "parameter", "value": [1, 2], "min": [0, "-Infinity"], "max": 3, "frozen": True}],
    "fit": {"data": {"file": "w"}, "columns": {"x": "t"}, "residuals": "r", "sigma": {"column": "s"},
            "method": {"name": "trf", "loss": "huber"}, "tolerance": 1e-9, "seed": 0, "validation": {"fraction": 0.5},
            "result": {"status": "ended", "objective": "NaN", "evaluations": 1, "parameters": ["w[0]"], "values": [1],
                       "confidence": {"level": 0.5, "intervals": [[0, 1]]}, "covariance": [[1]]}}})
EXAMPLES = [FITTED.encode(), *(path.read_bytes() for path in sorted((ROOT / "circuits").glob("*.json")))]
FOLDER = tempfile.TemporaryDirectory()
TENSOR = json.dumps({"circuitflow": "1.0",
                     "nodes": [{"id": "x", "gate": "input", "value": {"file": "w", "tensor": "W"}}], "outputs": ["x"]})
LIMITS = cf.Limits(document_bytes=2**16, header_bytes=2**16, nodes=500, nesting=8, digits=400, text=2**14,
                   tensor_bytes=2**16, run_bytes=2**20)


def safe(error: cf.CircuitflowError) -> None:
    """An error is a sentence, and no more than that."""
    text = str(error)
    assert text
    assert all(character.isprintable() or character == "\n" for character in text), text


def use(circuit: cf.Circuit) -> None:
    """Everything that is done with a circuit."""
    assert cf.loads(cf.dumps(circuit), folder=FOLDER.name) == circuit
    executor = cf.Executor(circuit)
    steps = (
        executor.run, executor.forward, lambda: cf.explain(executor.run(), "markdown"),
        lambda: draw(executor.run(), "dot"),
        lambda: draw(circuit, "mmd"), lambda: overview(circuit, executor.forward()), lambda: cf.gradient(circuit),
        lambda: executor.compile()(), lambda: cf.to_python(circuit),
        lambda: cf.diff(circuit, circuit), lambda: cf.diff(cf.loads(FITTED), circuit), lambda: check_start(circuit),
    )
    for step in steps:
        try:
            step()
        except cf.CircuitflowError as error:
            safe(error)


def target(data: bytes) -> None:
    """One input."""
    mode, rest = data[0] % 4 if data else 0, data[1:]
    try:
        if mode == 1:
            circuit = cf.new(rest.decode(errors="replace"))
        elif mode == 3:
            Path(FOLDER.name, "w").write_bytes(rest)
            circuit = cf.loads(TENSOR, folder=FOLDER.name, limits=LIMITS)
        else:
            if mode == 2 and len(rest) >= 4:  # an example with a byte of its own changed, taken out or put in
                text = bytearray(EXAMPLES[rest[0] % len(EXAMPLES)])
                at = int.from_bytes(rest[1:3], "little") % len(text)
                text[at : at + rest[3] % 3] = rest[4:]
                rest = bytes(text)
            circuit = cf.loads(rest.decode(), limits=LIMITS)
    except UnicodeDecodeError:
        return
    except cf.CircuitflowError as error:
        safe(error)
        return
    use(circuit)


WORDS = [*cf.GATES, '"id"', '"gate"', '"inputs"', '"value"', '"shape"', '"dtype"', '"circuits"', '"outputs"', '"nodes"',
         '"edges"', '"call"', '"scan"', '"min"', '"max"', '"frozen"', '"1.1"', '"fit"', '"residuals"', '"loss"',
         '"columns"', '"method"', '"result"',
         '"upstream"', '"random"', '"normal"', '"NaN"', '"Infinity"', "float32", "int64", "1e308", "-0.0", "\\\\u0000",
         "\\\\ud800"]


def main() -> int:
    """Fuzz for so many seconds, beginning with the seeds and the examples.

    It goes on in a new process every few minutes, for atheris itself takes more and more memory.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "grown").mkdir()
        (folder / "examples").mkdir()
        (folder / "words").write_text("".join('"' + word.replace('"', '\\"') + '"\n' for word in WORDS))
        for i, text in enumerate([*EXAMPLES,
                                  *(path.read_bytes() for path in (ROOT / "circuits/broken").glob("*.json"))]):
            if len(text) < 5000:
                (folder / "examples" / str(i)).write_bytes(b"\0" + text)
        end = time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 1:
            arguments = [str(folder / "grown"), str(Path(__file__).parent / "corpus"), str(folder / "examples"),
                         f"-dict={folder / 'words'}",
                         f"-max_total_time={min(int(left), 180)}", "-timeout=20", "-rss_limit_mb=8192", *options.rest]
            status = subprocess.run([sys.executable, "-W", "ignore", __file__, WORKER, *arguments],
                                    check=False).returncode
            if status:
                return status
    return 0


WORKER = "worker"

if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        logging.disable()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
        atheris.Fuzz()
    sys.exit(main())
