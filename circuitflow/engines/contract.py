"""The interface of engines: a question that can be called."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question


class Engine(ABC):
    """A function from inputs by name, and upstream gradients by output, to values and gradients.

    Every engine binds its arguments by `Question.bind`, so that all refuse the same in the same words. It gives what
    `Question.interpret` gives, to rounding. It may be shared between threads and pickled.

    Attributes:
        question: the question.
        way: how it runs, in words.
        over_rows: whether arguments may be columns, and results are.
        options: its other arguments, by keyword. A pickle carries the question and these, no code.
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

    def taking(self, upstream: Mapping[str, Any]) -> Self:
        """The engine that takes these upstream gradients: this one, or another for the same question."""
        return self

    @abstractmethod
    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """The outputs and the gradients, each in the order of the question."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.options), (self.question, self.thresholds)


class Interpreted(Engine):
    """The reference interpreter."""

    way = "interpreter"

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        return self.question.interpret(*self.question.bind(inputs, upstream))


class Backed(Engine):
    """An engine whose code cannot answer everything; the interpreter answers the rest.

    The interpreter takes arrays of other libraries, on their own device, and every call for which the code raises: a
    function of Python raises where NumPy's gives an infinity or NaN, a gate refuses an operand, or the gradient circuit
    cannot be written. An exception of another class is a fault of ours, and gives a warning.

    Attributes:
        raises: the classes that are expected.
    """

    raises: tuple[type[Exception], ...] = (ArithmeticError, ValueError, GateError, InputError)

    @abstractmethod
    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        """The answer for arrays of NumPy; arguments are what `Question.bind` gives."""

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
