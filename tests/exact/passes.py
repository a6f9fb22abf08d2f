"""Runs the whole corpus in every way, which takes minutes, and writes docs/conformance.md.

    python tests/exact/passes.py
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.corpus import WAYS, cases, outcomes  # noqa: E402


def page() -> Iterator[str]:
    every = cases()
    yield "# Who passes what"
    yield ""
    yield (f"The [corpus](../circuits/conformance/README.md) has {len(every)} cases. The interpreter computes outputs, "
           "gradients and contributions; `derivatives as documents` are `jvp` and `hvp`, run by it. All others compute "
           "outputs and gradients. Written by `python tests/exact/passes.py`.")
    yield ""
    yield "| way | passed | refused | outside of the tolerance |"
    yield "|---|---|---|---|"
    refused: dict[str, dict[str, int]] = {}
    others: dict[str, list[str]] = {}
    for way in WAYS:
        counts, refused[way], others[way] = defaultdict(int), defaultdict(int), []
        for case, status, _ in outcomes(way, every):
            counts[status] += 1
            if status == "refused":
                refused[way][case.file] += 1
            elif status == "other":
                others[way].append(str(case))
        yield f"| {way} | {counts['passed']} | {counts['refused']} | {counts['other']} |"
    yield ""
    yield "Refused, by file:"
    yield ""
    for way, files in refused.items():
        if files:
            yield f"- {way}: {', '.join(f'{name} ({count})' for name, count in files.items())}"
    yield ""
    yield "Outside of the tolerance:"
    yield ""
    for way, names in others.items():
        if names:
            yield f"- {way}: {', '.join(f'`{name}`' for name in names)}"
    yield ""
    yield ("XLA flushes subnormal numbers to 0, which is why its engine differs beside 0; "
           "[conventions.md](conventions.md) has the list. A refusal names the node and the remedy.")


if __name__ == "__main__":
    (ROOT / "docs" / "conformance.md").write_text("\n".join(page()) + "\n", encoding="utf-8")
