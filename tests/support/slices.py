"""The default run's slice of a test with many parameters: `@pytest.mark.sliced` marks all others as `long`.

Every value of every parameter is in the slice at least once. `sliced(example=lambda e: e.gate)` says what is meant by a
value of `example`: of all the examples of a gate, one is enough. `sliced(by=["gate"])` goes by that parameter alone.
`sliced(times=3)` takes three of each instead of one.

What is not in the default run takes hours, so every test has a part, one of `PARTS`: `-m 'long and part(number=1)'`
runs a third of what is long. `.ci/run` takes one part at every commit.

A test that makes its cases at random makes fewer of them in the default run: `settings(max_examples=few(300))`.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import pytest

from circuitflow.gates import GATES

PARTS = 3

WHOLE = True
"""Whether everything runs: `conftest.py` says that the default run is a part."""


def few(number: int) -> int:
    """How many random cases a test makes that makes `number` of them where everything runs."""
    return number if WHOLE else -(-number // 10)


def choose(cases: Sequence[Mapping[str, Hashable]], times: int = 1) -> set[int]:
    """The indices of the slice of some cases, each a value for every parameter.

    It goes through the values of the parameter that has most of them, then through those of the others. A value that
    has too few cases in the slice gets the one whose other values the slice has least often; of several, the first.
    So the engines of a product of gates and engines take turns.
    """
    with_value: dict[tuple[str, Hashable], list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        for value in case.items():
            with_value[value].append(i)
    sizes = Counter(name for name, _ in with_value)
    chosen: set[int] = set()
    counts: Counter[tuple[str, Hashable]] = Counter()
    for value in sorted(with_value, key=lambda value: -sizes[value[0]]):
        left = [i for i in with_value[value] if i not in chosen]
        while counts[value] < times and left:
            best = min(left, key=lambda i: sum(counts[other] for other in cases[i].items()))
            left.remove(best)
            chosen.add(best)
            counts.update(cases[best].items())
    return chosen


def halves(*parameters: Iterable[Hashable]) -> Any:
    """A parameter `half` for a test that takes a product in one go: its slice, and the rest of it, which is long."""
    product = list(itertools.product(*parameters))
    chosen = choose([{str(i): value for i, value in enumerate(case)} for case in product])
    rest = [case for i, case in enumerate(product) if i not in chosen]
    return pytest.mark.parametrize("half", [pytest.param([product[i] for i in sorted(chosen)], id="slice"),
                                            pytest.param(rest, id="rest", marks=pytest.mark.long)])


def mark_long(items: Iterable[pytest.Item]) -> None:
    """Mark every test that `sliced` leaves out of the default run."""
    functions: dict[Any, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if (isinstance(item, pytest.Function) and item.get_closest_marker("sliced")
                and not item.get_closest_marker("long")):
            functions[item.path, item.originalname].append(item)
    for group in functions.values():
        options = dict(group[0].get_closest_marker("sliced").kwargs)
        times = options.pop("times", 1)
        names = options.pop("by", group[0].callspec.params)
        chosen = choose([{name: value for name, value in values_of(item, options).items() if name in names}
                         for item in group], times)
        for i, item in enumerate(group):
            if i not in chosen:
                item.add_marker("long")


def mark_parts(items: Iterable[pytest.Item]) -> None:
    """Give every test its part, by its name, so that it stays when others come."""
    for item in items:
        item.add_marker(pytest.mark.part(number=crc32(item.nodeid.encode()) % PARTS))


def values_of(item: pytest.Function, keys: Mapping[str, Callable[[Any], Hashable]]) -> dict[str, Hashable]:
    """What each parameter of a test is, as far as its slice goes by it: its key, or the value itself."""
    parameters = item.callspec.params
    assert keys.keys() <= parameters.keys(), f"{item.name} has no parameters {keys.keys() - parameters.keys()}"
    return {name: keys[name](x) if name in keys else (type(x), x) if is_hashable(x) else id(x)
            for name, x in parameters.items()}


def is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def alike(_: Any) -> str:
    """A key of parameters of which one value is enough in the default run."""
    return "any"


def gate_of(x: Any) -> str:
    """A key of examples, points and groups."""
    return x.gate


def family_of(x: Any) -> str:
    """A key of gates, or of examples and groups: the formula sheet that the gate stands on."""
    return GATES[x if isinstance(x, str) else x.gate].forward.__module__
