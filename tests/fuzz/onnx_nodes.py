"""ONNX's own tests of operators, which come with the package onnx: imported, run, and compared with what they say.

`python tests/fuzz/onnx_nodes.py` prints how many agree, are refused, or are wrong, and every wrong one; `-k` chooses by
name, `-v` adds the refusals. `--page` prints docs/onnx.md. Nothing may be wrong.
"""

from __future__ import annotations

import argparse
import collections
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.onnx_cases import cases, outcome
from support.onnx_page import operator_of, page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="")
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.page:
        print(page(), end="")
        return 0
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for case in cases():
        if arguments.k in case.name:
            result = outcome(case)
            counts[operator_of(case)][result.status] += 1
            if result.status == "wrong" or (arguments.v and result.status == "refused"):
                print(f"{result.status} {case.name}: {result.reason}")
    total = sum(counts.values(), collections.Counter())
    for operator, count in sorted(counts.items(), key=lambda item: -item[1]["refused"]):
        if count["refused"]:
            print(f"{operator}: {dict(count)}")
    print(dict(total))
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
