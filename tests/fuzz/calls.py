"""Random calls of NumPy's on arrays and on wires, for as long as asked: `python tests/fuzz/calls.py --seconds 60`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.numpy_calls import FAMILIES, calls, outcome


def search(family: str, examples: int) -> None:
    """Calls of one family; the first that differs is shrunk and raised."""
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls(family))
    def agrees(call):
        wrong = outcome(call)
        assert wrong is None, f"{wrong}{call}"

    agrees()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--family", choices=FAMILIES, help="one family of calls; all of them by default")
    options = parser.parse_args()
    end, rounds = time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        for family in [options.family] if options.family else FAMILIES:
            search(family, 300)
        rounds += 1
    print(f"{rounds} rounds of 300 calls of every family; all agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
