"""Every hostile document at a terminal: status 2, faults with their places, little work, 512 MB, no file but its
own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from support.documents import document
from support.suite import GUARD, ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits on memory are kept on Linux")

HARNESS = """
import io, json, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, (2**29, 2**29))
import circuitflow as cf
from circuitflow.cli import main

events = []
def hook(name, arguments):
    if name == "open" and isinstance(arguments[0], (str, bytes)):
        events.append(os.fsdecode(arguments[0]))
    elif name.split(".")[0] in ("socket", "subprocess") or name in (
            "os.system", "os.exec", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir"):
        events.append(name)

def command(path):
    sys.argv = ["circuitflow", "run", path]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    start, first = time.process_time(), len(events)
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException as error:
        status = repr(error)[:300]
    finally:
        sys.stdout, sys.stderr = kept
    taken = time.process_time() - start
    for stream in (out, err):
        stream.flush()
    return {"status": status, "out": out.buffer.getvalue().decode("latin-1"),
            "err": err.buffer.getvalue().decode("latin-1"),
            "seconds": taken, "opened": events[first:]}

# So that what is imported on the way is there.
for path in ("circuits/rnn.json", "circuits/broken/several_faults.json"):
    command(path)
sys.addaudithook(hook)
for path in json.load(sys.stdin):
    print(json.dumps(command(path)), flush=True)
"""


def nested_calls(depth):
    bodies = {"c0": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "neg", "inputs": ["x"]}],
                     "outputs": ["y"]}}
    for i in range(1, depth):
        bodies[f"c{i}"] = {"nodes": [{"id": "x", "gate": "input"},
                                     {"id": "y", "gate": "call", "circuit": f"c{i - 1}", "inputs": ["x"]},
                                     {"id": "z", "gate": "call", "circuit": f"c{i - 1}", "inputs": ["y"]}],
                           "outputs": ["z"]}
    return document("x = 1", {"id": "f", "gate": "call", "circuit": f"c{depth - 1}", "inputs": ["x"]}, circuits=bodies)


def wide(n, gate, wrong, **more):
    """A body of n inputs and outputs, one node that applies it, a reader of every output, and a fault."""
    body = {"nodes": [*({"id": f"x{i}", "gate": "input"} for i in range(n)),
                      *({"id": f"y{i}", "gate": "neg", "inputs": [f"x{i}"]} for i in range(n))],
            "outputs": [f"y{i}" for i in range(n)]}
    node = {"id": "c", "gate": gate, "circuit": "a", "inputs": {f"x{i}": "s" for i in range(n)}, **more}
    return document("s = [1, 2]", node, *({"id": f"z{i}", "gate": "neg", "inputs": [f"c.y{i}"]} for i in range(n)),
                    f"w = {wrong}", circuits={"a": body})


GENERATED = {
    "a_call_of_10000_outputs": lambda: wide(10_000, "call", "nge(z0)"),
    "a_checkpoint_of_10000_outputs": lambda: wide(10_000, "checkpoint", "nge(z0)"),
    "a_scan_over_10000_inputs": lambda: wide(10_000, "scan", "nge(z0)", over=[f"x{i}" for i in range(10_000)]),
    "a_scan_that_carries_10000_values": lambda: wide(10_000, "scan", "nge(z0)", over=["x0"],
                                                     carry={f"x{i}": f"y{i}" for i in range(1, 10_000)}),
    "inputs_that_a_scan_has_not": lambda: wide(5_000, "scan", "neg(z0)", over=[f"q{i}" for i in range(900)]),
    "outputs_that_a_checkpoint_has_not": lambda: wide(5_000, "checkpoint", "neg(c)").replace('"c.y', '"c.q'),
    "operands_that_a_call_has_not": lambda: wide(5_000, "call", "neg(z0)").replace('"x4": "s"', '"q4": "s"'),
    "upstream_of_large_values": lambda: document(*(f"x{i} = 1" for i in range(100)),
                                                 outputs=[f"x{i}" for i in range(100)],
                                                 upstream={f"x{i}": {"data": 0, "shape": [2**28]} for i in range(100)}),
    "cycle_of_20000": lambda: document(*(f"n{i} = neg(n{(i + 1) % 20_000})" for i in range(20_000))),
    "self_loops": lambda: document(*(f"n{i} = neg(n{i})" for i in range(20_000))),
    "edges_to_nowhere": lambda: document("x = 1", "f = neg(x)",
                                         edges=[{"source": f"a{i}", "target": f"b{i}"} for i in range(20_000)]),
    "doubled_edges": lambda: document("x = 1", {"id": "f", "gate": "neg"},
                                      edges=[{"source": "x", "target": "f", "port": 0}] * 20_000),
    "ids_twice": lambda: document(*["x = 1"] * 20_000),
    "lists_100000_deep": lambda: '{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": ' + "["
    * 100_000 + "]" * 100_000 + '}], "outputs": ["x"]}',
    "objects_100000_deep": lambda: '{"circuitflow": "1.0", "nodes": [], "outputs": ["x"], "metadata": ' + '{"a":'
    * 100_000 + "1" + "}" * 100_000 + "}",
    "brackets": lambda: "[" * 1_000_000, "braces": lambda: "{" * 1_000_000, "quotes": lambda: '"' * 1_000_001,
    "backslashes": lambda: '"' + "\\" * 1_000_001,
    "calls_2_to_the_40": lambda: nested_calls(40), "calls_100_deep": lambda: nested_calls(100),
    "integer_of_5000_digits": lambda: document("x = 1").replace('"value": 1', '"value": ' + "9" * 5000),
    "integer_of_a_million_digits": lambda: '{"circuitflow": ' + "9" * 1_000_000 + "}",
    "text_of_ten_million": lambda: document({"id": "x", "gate": "input", "label": "a" * 10_000_000}),
    "key_of_ten_million": lambda: '{"' + "k" * 10_000_000 + '": 1}',
    "unknown_keys": lambda: document({"id": "x", "gate": "input", **{f"k{i}": i for i in range(50_000)}}),
    "keys_twice": lambda: '{"circuitflow": "1.0", ' + '"nodes": [], ' * 50_000 + '"outputs": []}',
    "unknown_gates": lambda: document("x = 1", *(f"n{i} = gate{i}(x)" for i in range(20_000))),
    "ragged": lambda: document({"id": "x", "gate": "input", "value": [[1] * 1000] * 999 + [[1]]}),
    "text_among_numbers": lambda: document({"id": "x", "gate": "input", "value": [1] * 300_000 + ["1"]}),
    "ports_far_away": lambda: document("x = 1", {"id": "f", "gate": "add", "inputs": {"0": "x", "999999999": "x"}}),
    "broadcast_of_many": lambda: document(*({"id": f"x{i}", "gate": "input",
                                             "value": {"data": 1, "shape": [1] * i + [50_000] + [1] * (5 - i)}}
                                            for i in range(6)), "f = add(x0, x1, x2, x3, x4, x5)"),
    "sixty_four_dimensions": lambda: document({"id": "x", "gate": "input", "value": {"data": 1, "shape": [2] * 64}}),
    "values_of_a_terabyte": lambda: document({"id": "x", "gate": "input",
                                              "value": {"data": 0, "shape": [10**6, 10**6]}}),
    "many_large_values": lambda: document(*({"id": f"x{i}", "gate": "input", "value": {"data": 0, "shape": [2**29]}}
                                            for i in range(100))),
    "outputs_without_end": lambda: document("x = 1", outputs=["y"] * 100_000), "newlines": lambda: "\n" * 1_000_000,
    "spaces_and_a_brace": lambda: " " * 5_000_000 + "{",
    "surrogates": lambda: '{"a": "' + "\\ud800" * 100_000 + '"}',
    "escapes": lambda: '{"circuitflow": "1.0", "x": "' + "\\u0041" * 300_000 + '"}',
    "numbers_that_underflow": lambda: document({"id": "x", "gate": "input",
                                                "value": [1]}).replace("[1]",
                                                                       "[" + ", ".join(["1e-400"] * 20_000) + "]"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    paths = {f"broken/{path.stem}": path.relative_to(ROOT).as_posix()
             for path in sorted((ROOT / "circuits/broken").glob("*.json"))}
    for name, write in GENERATED.items():
        (folder / f"{name}.json").write_text(write())
        paths[f"made/{name}"] = str(folder / f"{name}.json")
    done = subprocess.run([sys.executable, "-c", HARNESS], cwd=ROOT, capture_output=True,
                          input=json.dumps(list(paths.values())).encode(), check=False,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, timeout=GUARD)
    found = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(found) == len(paths), f"stopped at {list(paths.values())[len(found)]}: {done.stderr.decode()[-1000:]}"
    return {name: (path, outcome) for (name, path), outcome in zip(paths.items(), found, strict=True)}


def test_there_are_more_than_120():
    assert len(list((ROOT / "circuits/broken").glob("*.json"))) + len(GENERATED) >= 120


def test_each_ends_with_status_2_and_faults_with_their_places(outcomes):
    for name, (path, outcome) in outcomes.items():
        err = outcome["err"].encode("latin-1").decode()
        assert outcome["status"] == 2, (name, outcome["status"], err[:300])
        assert outcome["out"] == "", name
        assert err, name
        assert "Traceback" not in err, name
        assert re.match(rf"{re.escape(path)}|circuits/broken/\w+\.json", err), (name, err[:200])
        assert all(line.isprintable() for line in err.splitlines()), name
        assert len(err) < 1_000_000, name


def test_none_takes_much_work(outcomes):
    """Seconds of the processor, of which each takes less than one: what goes by squares takes minutes."""
    assert {name: outcome["seconds"] for name, (_, outcome) in outcomes.items() if outcome["seconds"] > 10} == {}


def test_none_opens_what_is_not_its_own(outcomes):
    for name, (path, outcome) in outcomes.items():
        folder = os.path.dirname(os.path.join(ROOT, path))
        for opened in outcome["opened"]:
            if re.fullmatch(r"/.*\.(py|pyc|so)", opened):  # code of this installation, imported when first used
                continue
            own = opened in (path, folder) or re.fullmatch(r"[\w.:~]+|/proc/self/fd/\d+",
                                                           opened) or opened.startswith(f"{folder}/")
            assert own, (name, opened)
