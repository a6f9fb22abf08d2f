"""The smallest set of gates that keeps a gradient from a node: a minimum cut of the graph.

Gradients flow along edges from the outputs to the node. An edge has a capacity of 1 where it sends nothing back though
a gradient arrives, or would send nothing back if one did; all such edges of one gate share the 1. A fork whose
contributions add up to 0 has a capacity of 1, too. The capacity of all else has no limit. Of several smallest cuts it
is the one that is nearest to the node, since the values of a dead gate may be why a later gate is dead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from circuitflow.interpreter.rerun import Sweep


class Cut(NamedTuple):
    """A cut.

    Attributes:
        steps: the gates, each with the positions of the operands that get nothing.
        dead: all gates that send nothing to an operand, in the cut or not.
        forks: slots of forks.
        outputs: slots of outputs without a gradient.
    """

    steps: dict[int, list[int]]
    dead: list[int]
    forks: list[int]
    outputs: list[int]


def minimum_cut(sweep: Sweep, reached: set[int]) -> Cut:
    """The smallest cut between the outputs that depend on a node and the node, whose gradient is 0.

    `reached` are the slots that depend on the node, its own among them.
    """
    from scipy.sparse import csr_array  # here, since a plain run does without SciPy
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    plan, slots = sweep.plan, len(sweep.values)
    steps = [(k, step) for k, step in enumerate(plan.steps) if not reached.isdisjoint(step.operands)]
    first, unlimited = 2 * slots + 2, len(steps) + slots + 1
    source, sink = 2 * slots, 2 * sweep.target + 1
    tails: list[int] = []
    heads: list[int] = []
    capacities: list[int] = []

    def add(tail: int, head: int, capacity: int) -> None:
        tails.append(tail)
        heads.append(head)
        capacities.append(capacity)

    for slot in set(plan.of.values()) & reached:
        is_seeded = slot not in sweep.seeds or bool(np.any(sweep.seeds[slot]))
        add(source, 2 * slot, unlimited if is_seeded else 1)
    for slot in reached:
        cancels = not np.any(sweep.gradients[slot] if sweep.gradients[slot] is not None else 0) and any(
            np.any(x) for _, x in sweep.arriving(slot))
        add(2 * slot, 2 * slot + 1, 1 if cancels else unlimited)
    dead: dict[int, list[int]] = {}
    for n, (k, step) in enumerate(steps):
        whole, blocked = first + 2 * n, first + 2 * n + 1
        dead[k] = [i for i in dead_operands(sweep, k) if step.operands[i] in reached]
        for slot in step.slots:
            add(2 * slot + 1, whole, unlimited)
        add(whole, blocked, 1)
        for i, slot in enumerate(step.operands):
            if slot in reached:
                add(blocked if i in dead[k] else whole, 2 * slot, unlimited)
    size = first + 2 * len(steps)
    # Edges that stand twice, as for x · x, have one entry of any capacity.
    graph = csr_array((np.array(capacities, np.int32), (tails, heads)), (size, size))
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.eliminate_zeros()
    near = set(breadth_first_order(residual.T.tocsr(), sink, return_predecessors=False).tolist())
    return Cut({k: dead[k] for n, (k, _) in enumerate(steps)
                if first + 2 * n not in near and first + 2 * n + 1 in near},
               [k for k in dead if dead[k]],
               [slot for slot in reached if 2 * slot not in near and 2 * slot + 1 in near],
               [slot for slot in sweep.seeds if 2 * slot in near and slot in reached])


def dead_operands(sweep: Sweep, k: int) -> set[int]:
    """The operands to which a gate sends nothing: of this run's gradient, or of any where none arrives."""
    step = sweep.plan.steps[k]
    operands = [sweep.values[slot] for slot in step.operands]
    if any(np.any(g) for g in sweep.upstream_of(step)):
        sent = {i: sweep.sent.get((k, i)) for i in range(len(operands))}
    elif step.node.gate is not None or step.receivers:
        sent = dict.fromkeys(range(len(operands))) | sweep.alone(step, operands, sweep.probe(step))[1]
    else:  # nothing is known of a node with a subcircuit whose operands a gradient cannot pass on from
        return set()
    return {i for i, x in sent.items() if x is None or not np.any(x)}
