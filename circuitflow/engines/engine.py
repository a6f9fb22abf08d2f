"""What every engine is: a question that can be called, alike for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from circuitflow.engines.thresholds import Thresholds
from circuitflow.executor.binding import Bound
from circuitflow.executor.question import Answer, Question


class Engine(ABC):
    """A function from inputs by name, and upstream gradients by output, to values and gradients.

    Every engine binds its arguments by `Question.bind`, so that all refuse the same in the same words, and gives what
    `Question.interpret` gives, to rounding. It may be shared between threads and pickled.

    Attributes:
        question: what is asked.
        way: how it runs, in words.
        over_rows: whether arguments may be columns, and results are.
        options: what else it was made with, by keyword; a pickle carries the question and these, no code.
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


def is_numpy(bound: Bound) -> bool:
    """Whether all arrays are NumPy's: those of other libraries are for the interpreter, on their own device."""
    return bound.xp is np
