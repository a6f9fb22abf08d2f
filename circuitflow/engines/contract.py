"""The contract of engines, which the table `ENGINES` lists.

An engine makes a function of a question. It promises:

- Questions: it takes one, or refuses it when the function is made. The refusal is an `InputError` or a `GateError` that
  names what stands in the way and a remedy; a package that is not installed is a `MissingExtraError`.
- Answers: those of `Question.interpret` to rounding, in the order of the question, over rows for each row.
- Arguments: they are bound by `Question.bind`, so that all engines refuse the same in the same words.
- Errors: a call raises nothing but an `InputError` or a `GateError`, as the interpreter does.
- Threads: a function may be called by several at once. What a call changes it takes from a pool, or under a lock.
- Pickling: a pickle carries the question, the thresholds and the options, and no code.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question

ValueAndGrad = Callable[..., tuple[Any, dict[str, Any]]]
"""What a caller gets: inputs by name, `upstream` by output → values and gradients."""


@dataclass(frozen=True)
class Engine:
    """A row of the table of engines.

    Attributes:
        words: what it runs, for help.
        compile: makes the function of a question; takes the question, thresholds and, if there are devices, `device`.
        vmap: likewise over the rows of columns; None if it takes one row at a time.
        devices: what a device may be, in words; "" if it runs on the CPU only.
    """

    words: str
    compile: Callable[..., CompiledFunction]
    vmap: Callable[..., CompiledFunction] | None = None
    devices: str = ""


class CompiledFunction(ABC):
    """A function from inputs by name, and upstream gradients by output, to values and gradients; see the contract.

    Attributes:
        question: the question.
        way: how it runs, in words.
        over_rows: whether arguments may be columns, and results are.
        options: its other arguments, by keyword.
    """

    way = ""
    over_rows = False
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, question: Question, thresholds: Thresholds) -> None:
        self.question, self.thresholds = question, thresholds

    def __call__(self, inputs: Mapping[str, Any] | None = None, /, *, upstream: Mapping[str, Any] | None = None,
                 **named: Any) -> tuple[Any, dict[str, Any]]:
        """Values and gradients.

        Args:
            inputs: values of inputs and parameters, by id; the document's are the defaults.
            upstream: upstream gradients, by output; the document's are the defaults, and 1 for a scalar.
            named: more inputs; one that is called `upstream` goes into the mapping.

        Returns:
            The output, or a dictionary where there are several; and the gradients by what they belong to.

        Raises:
            InputError: an unknown id, a missing value, a wrong shape or dtype.
            GateError: a gate could not be applied to the values that reached it.
        """
        return self.question.packed(self.answer(*self.question.arguments(inputs, upstream, named)))

    @property
    def value_and_grad(self) -> ValueAndGrad:
        """The function that a caller gets: this one, or a faster one that does the same."""
        return self

    def taking(self, upstream: Mapping[str, Any]) -> Self:
        """The function that takes these upstream gradients: this one, or another for the same question."""
        return self

    @abstractmethod
    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """The outputs and the gradients, each in the order of the question."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.options), (self.question, self.thresholds)


class Interpreted(CompiledFunction):
    """The reference interpreter."""

    way = "interpreter"

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        return self.question.interpret(*self.question.bind(inputs, upstream))


class Backed(CompiledFunction):
    """A function whose code cannot answer every call; the interpreter answers the rest.

    The interpreter takes arrays of other libraries, on their own device, and every call for which the code raises: a
    function of Python raises where NumPy's gives an infinity or NaN, a gate refuses an operand, or the gradient circuit
    cannot be written. An exception of another class is a fault of circuitflow, and gives a warning.

    Attributes:
        raises: the classes that are expected.
    """

    raises: tuple[type[Exception], ...] = (ArithmeticError, ValueError, GateError, InputError)

    @abstractmethod
    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        """The answer for arrays of NumPy. The arguments are what `Question.bind` gives."""

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        bound, seeds = self.question.bind(inputs, upstream)
        if bound.xp is np:
            try:
                return self.taking(upstream).run(bound, seeds)
            except Exception as error:
                answer = self.question.interpret(bound, seeds)
                if not isinstance(error, self.raises):
                    warnings.warn("staged code failed where the interpreter did not "
                                  f"({type(error).__name__}: {error}); the answer is the interpreter's",
                                  RuntimeWarning, stacklevel=3)
                return answer
        return self.question.interpret(bound, seeds)
