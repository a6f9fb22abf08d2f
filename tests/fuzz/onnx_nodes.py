"""ONNX's own tests of operators, which come with the package onnx: imported, run, and compared with what they say.

`python tests/fuzz/onnx_nodes.py` prints how many agree, are refused, or are wrong, and every wrong one; `-k` chooses by
name. `--page` writes docs/onnx.md. Nothing may be wrong.
"""

from __future__ import annotations

import argparse
import collections
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.onnx_cases import Outcome, cases, outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="")
    parser.add_argument("-v", action="store_true", help="print every refusal")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    reasons: collections.Counter[str] = collections.Counter()
    for case in cases():
        if arguments.k not in case.name:
            continue
        result: Outcome = outcome(case)
        operators = sorted({node.op_type for node in case.model.graph.node})
        counts[operators[0] if len(operators) == 1 else "(bodies)"][result.status] += 1
        if result.status == "wrong" or (arguments.v and result.status == "refused"):
            print(f"{result.status} {case.name}: {result.reason}")
        if result.status == "refused":
            reasons[f"{operators[0] if len(operators) == 1 else '(bodies)'}: {result.reason}"] += 1
    total = sum(counts.values(), collections.Counter())
    print(dict(total))
    for operator, count in sorted(counts.items(), key=lambda item: -item[1]["refused"]):
        if count["refused"]:
            print(f"{operator}: {dict(count)}")
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
