"""Whether a plan of buffers is sound, found out in another way than it was made: by going through the lines.

Every buffer has a version, which a write raises. A value may lie in the buffers, each as of some version, that its line
writes or that its operands may lie in. Nothing that is read, or given to the caller, may lie in a version that is gone.
"""

from __future__ import annotations

import numpy as np

from circuitflow.engines.program.functions import OWN_PRODUCTS
from circuitflow.engines.program.fusing import OWN
from circuitflow.engines.program.trace import Value

FRESH = (np.where, np.clip, np.astype, np.round, np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax, np.argmin,
         *OWN_PRODUCTS, *OWN)
"""Beside ufuncs, what gives memory of its own; `test_what_is_fresh` looks whether it does."""


def values_of(x):
    if isinstance(x, Value):
        yield x
    elif isinstance(x, tuple | list):
        for part in x:
            yield from values_of(part)


def check(program, plan):
    """Raise where a plan is not sound."""
    versions = [0] * len(plan.kinds)
    places = {id(x): set() for x in program.inputs.values()}
    for line in program.lines:
        operands = list(values_of([*line.operands, *line.keywords.values()]))
        below = set().union(*(places[id(x)] for x in operands))
        assert all(versions[buffer] == version for buffer, version in below), f"{line.function} reads what is gone"
        written = [plan.of[id(x)] for x in line.results if id(x) in plan.of]
        for x in line.results:
            fresh = isinstance(line.function, np.ufunc) or line.function in FRESH
            places[id(x)] = set() if fresh else below
        for buffer in written:
            assert fresh
            assert len(line.results) == 1
            (result,) = line.results
            assert plan.kinds[buffer] == (result.shape, result.dtype)
            by_element = isinstance(line.function, np.ufunc) and line.function.signature is None
            assert by_element or buffer not in {place for place, _ in below}, f"{line.function} writes over an operand"
            versions[buffer] += 1
            places[id(result)] = {(buffer, versions[buffer])}
    for x in values_of(list(program.outputs.values())):
        assert not places[id(x)], "a result of ours is given to the caller"


def checked(allot):
    """The function that makes plans, each of which is then checked."""
    def make(program):
        plan = allot(program)
        check(program, plan)
        make.count += 1
        return plan

    make.count = 0
    return make


