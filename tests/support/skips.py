"""Why tests were skipped, and what brings them back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

REMEDIES = {"torch": "pip install torch", "array_api_strict": "pip install -e '.[test]'",
            "jax": "pip install -e '.[test]'", "pyarrow": "pip install -e '.[test]'"}


def summary(reasons: Iterable[str]) -> list[str]:
    """Why tests were skipped, and what brings them back: a line for each remedy, and one for what has none.

    A reason ends with its remedy in brackets, or says which module cannot be imported.
    """
    counts = Counter(map(_summed, reasons))
    return [f"{count:,} skipped: {why}" for why,
            count in sorted(counts.items(), key=lambda item: (not item[0].count(":"), -item[1]))]


def _summed(reason: str) -> str:
    reason = reason.removeprefix("Skipped: ")
    module = re.search(r"could not import '(\w+)|^(\w+) is not installed", reason)
    if module:
        name = module[1] or module[2]
        return f"{name} is not installed: {REMEDIES.get(name, f'pip install {name}')}"
    remedy = re.fullmatch(r"(.*) \((.*)\)", reason)
    if remedy:
        return f"{remedy[1]}: {remedy[2]}"
    return "what they test has no meaning for their parameters or this system"
