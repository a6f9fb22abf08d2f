"""Damaged ONNX models, for as long as asked: `python tests/fuzz/onnx_models.py --seconds 60`.

Each is one of ONNX's own tests with something changed: bytes, a number, a shape, an operator, an input. It is read, or
refused by a CircuitflowError, within a few seconds and a GiB; all else is printed, and its file is kept by `--keep`.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parent.parent))
import circuitflow as cf
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of
from support.onnx_cases import cases

EXTREMES = [0, 1, -1, 2, 3, 7, 64, -2**31, 2**31 - 1, 2**40, -2**63, 2**63 - 1]


def damaged(proto: onnx.ModelProto, chance: random.Random) -> bytes:
    """The bytes of a model with something changed."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    nodes, graph = proto.graph.node, proto.graph
    for _ in range(chance.choice([1, 1, 2, 4])):
        node = chance.choice(nodes) if nodes else None
        match chance.randrange(9):
            case 0 if node and node.attribute:
                attribute = chance.choice(node.attribute)
                if attribute.ints:
                    attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(EXTREMES)
                elif attribute.type == onnx.AttributeProto.INT:
                    attribute.i = chance.choice(EXTREMES)
                elif attribute.type == onnx.AttributeProto.FLOAT:
                    attribute.f = chance.choice([0.0, float("nan"), float("inf"), -1e30, 1e-30])
                elif attribute.type == onnx.AttributeProto.STRING:
                    attribute.s = chance.choice([b"", b"\xff\x1b[31m", b"SAME_UPPER", b"linear", b"i,j->"])
            case 1 if node and node.attribute:
                del node.attribute[chance.randrange(len(node.attribute))]
            case 2 if node:
                node.op_type = chance.choice(OPERATORS)
            case 3 if node and node.input:
                names = [port.name for port in graph.input] + [name for other in nodes for name in other.output]
                node.input[chance.randrange(len(node.input))] = chance.choice([*names, "", "\x1b[2J"])
            case 4 if graph.input:
                shape = chance.choice(graph.input).type.tensor_type.shape
                if shape.dim:
                    dim = chance.choice(shape.dim)
                    dim.Clear()
                    if chance.random() < 0.5:
                        dim.dim_value = chance.choice(EXTREMES)
                    else:
                        dim.dim_param = chance.choice(["n", "n/2", "", "\u202e", "n" * 300])
            case 5 if graph.input:
                chance.choice(graph.input).type.tensor_type.elem_type = chance.randrange(27)
            case 6 if graph.input:  # an input that is known
                port = chance.choice(graph.input)
                values = [chance.choice(EXTREMES) for _ in range(chance.randrange(5))]
                graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values, np.int64), port.name))
                proto.ir_version = 3
            case 7 if node and node.attribute:
                node.attribute.append(chance.choice(chance.choice(MODELS).graph.node[0].attribute or node.attribute))
            case 8 if proto.opset_import:
                proto.opset_import[0].version = chance.randrange(6, 30)
    content = bytearray(proto.SerializeToString())
    if chance.random() < 0.2 and content:
        for _ in range(chance.choice([1, 3])):
            content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def main() -> int:
    global MODELS, OPERATORS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    MODELS = [case.model for case in cases() if len(case.model.SerializeToString()) < 20_000]
    OPERATORS = sorted({node.op_type for model in MODELS for node in model.graph.node})
    resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("stuck")))
    chance, end, counts = random.Random(options.seed), time.monotonic() + options.seconds, collections.Counter()
    faults: dict[str, int] = {}
    while time.monotonic() < end:
        content = damaged(chance.choice(MODELS), chance)
        signal.alarm(10)
        try:
            import_model(model_of(content, "m.onnx"))
            counts["read"] += 1
        except cf.CircuitflowError as error:
            counts["refused"] += 1
            if not str(error).replace("\n", "").isprintable():
                faults["hidden characters: " + repr(str(error))[:200]] = 1
        except BaseException as error:  # whatever it is
            if isinstance(error, KeyboardInterrupt):
                break
            where = traceback.extract_tb(error.__traceback__)
            place = next((frame for frame in reversed(where) if "circuitflow" in frame.filename), where[-1])
            key = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:120]}"
            faults[key] = faults.get(key, 0) + 1
            if options.keep and faults[key] == 1:
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{len(faults)}.onnx").write_bytes(content)
        finally:
            signal.alarm(0)
    print(dict(counts))
    for key, count in sorted(faults.items(), key=lambda item: -item[1]):
        print(f"{count} × {key}")
    return 1 if faults else 0


MODELS: list[onnx.ModelProto] = []
OPERATORS: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
