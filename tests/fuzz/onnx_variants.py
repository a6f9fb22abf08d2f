"""Nodes of ONNX with attributes at random, for as long as asked: `python tests/fuzz/onnx_variants.py --seconds 60`.

Each is imported and run, and compared with ONNX Runtime and with ONNX's reference evaluator: it must agree with one of
them. `-k` chooses by name, `-v` tells why variants are refused. What differs is printed with its number.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.onnx_variants import VARIANTS, drawn, verdict


def main() -> int:
    """The program; its exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first number of a variant")
    parser.add_argument("-k", default="")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    names = [name for name in VARIANTS if options.k in name]
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    end, seed = time.monotonic() + options.seconds, options.seed
    while time.monotonic() < end:
        for name in names:
            variant, opset = drawn(name, seed)
            try:
                status, reason = verdict(variant, opset)
            except Exception as error:
                status, reason = "wrong", f"{type(error).__name__}: {error}"
            counts[name][status] += 1
            if status == "wrong" or (options.v and status == "refused"):
                operands = {**variant.inputs, **variant.known}
                shapes = {key: x.shape if x.size > 8 else x.tolist() for key, x in operands.items()}
                print(f"{status}: {name} {seed}, opset {opset}, {variant.operator} {shapes} "
                      f"{ {key: x for key, x in variant.attributes.items() if x is not None} }: {reason}", flush=True)
        seed += 1
    for name, count in counts.items():
        print(f"{name}: {dict(count)}")
    total = sum(counts.values(), collections.Counter())
    print(dict(total))
    return int(total["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
