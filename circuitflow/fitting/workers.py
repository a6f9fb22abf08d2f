"""Fits over a cluster: its workers compute trees of every pass over the rows, each of spans of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, TypeVar

from circuitflow.errors import InputError
from circuitflow.fitting.data import Data
from circuitflow.fitting.problem import Problem
from circuitflow.fitting.request import Request
from circuitflow.rows.fixed_order import Tree
from circuitflow.rows.remote import Remote, absolute, need_client
from circuitflow.tables.spans import Span

T = TypeVar("T")


@contextmanager
def cluster_of(request: Request, data: Data) -> Iterator[Workers | None]:
    """The workers of the request's client; None without one.

    Raises:
        InputError: the client is none of a running cluster, or the data are not rows in files.
        CircuitflowError: a file cannot be read, or the cluster is lost.
        MissingExtraError: distributed is not installed.
    """
    if request.client is None:
        yield None
        return
    need_client(request.client)
    if data.file is None or not data.file.parts:
        raise InputError("a fit over a cluster reads tables in files, given as a path, a folder, a pattern or a URL; "
                         "write the rows to one, or leave the cluster out")
    if not data.over_rows:
        raise InputError("a fit over a cluster takes a circuit of one row, and this one is of a batch, "
                         f"'{data.batch}'; leave this dimension out of its inputs, or the cluster")
    with ExitStack() as stack:
        yield Workers(request, data, stack)


class Workers:
    """Workers of a cluster, with spans of the rows."""

    def __init__(self, request: Request, data: Data, stack: ExitStack) -> None:
        """Have the rows counted.

        Raises:
            CircuitflowError: see `cluster_of`.
        """
        assert data.file is not None  # noqa: S101
        self._client, self._stack = request.client, stack
        self._remedy = ("fit again, " + "with the same checkpoint, " * (request.checkpoint is not None)
                        + "with or without a cluster")
        self._remotes: dict[Problem, Remote] = {}
        self._block = data.block_rows
        with Remote(self._client, None, self._remedy) as remote:
            self._spans = remote.spans([*map(absolute, data.file.parts)], data.file.limits, self._block)
        self._places = [span.parts[0].shown for span in self._spans]
        data.set_rows(sum(span.rows for span in self._spans))

    def trees(self, problem: Problem, part: Callable[..., T], arguments: tuple[Any, ...],
              two: Callable[[T, T], T]) -> Iterable[Tree[T]]:
        """What `Problem.trees` gives of all blocks, in order.

        Raises:
            CircuitflowError: a row cannot be read or computed, or the cluster is lost.
        """
        if problem not in self._remotes:
            self._remotes[problem] = self._stack.enter_context(Remote(self._client, problem, self._remedy))
        return chain.from_iterable(self._remotes[problem].in_order(
            _trees, self._spans, self._places, self._block, part, arguments, two))


# On a worker ----------------------------------------------------------------------------------------------------------

def _trees(problem: Problem, span: Span, block: int, part: Callable[..., T], arguments: tuple[Any, ...],
           two: Callable[[T, T], T]) -> list[Tree[T]]:
    blocks = problem.data.blocks_of(span, block)
    return problem.trees(blocks, part, arguments, two, first=span.first // block)
