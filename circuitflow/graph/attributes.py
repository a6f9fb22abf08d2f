"""Validates a node's attributes against its gate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from circuitflow.document.faults import in_words
from circuitflow.gates import Gate
from circuitflow.text import listing, nearest, printable, short


class Misfit(NamedTuple):
    """An attribute that does not fit.

    Attributes:
        message: what was found and what was expected.
        path: the attribute; empty where it is missing, or where several do not go together.
        is_key: whether it is the name that is wrong.
        lacks: the attribute that is missing, or "".
    """

    message: str
    path: tuple[str, ...] = ()
    is_key: bool = False
    lacks: str = ""


def fit_attributes(name: str, gate: Gate, values: Mapping[str, Any], others: Collection[str] = (),
                   suggest: Callable[[str, Collection[str]], str] = nearest) -> tuple[dict[str, Any], list[Misfit]]:
    """The attributes of a gate with their defaults, or what does not fit.

    For suggestions, `others` are what else may stand beside them, and `suggest` gives a clause with the nearest
    spelling.
    """
    try:
        return dict(gate.attributes.model_validate(values)), []
    except ValidationError as error:
        fields = gate.attributes.model_fields
        properties = gate.attributes.model_json_schema().get("properties", {})
        misfits = []
        for detail in error.errors(include_url=False):
            attribute = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "extra_forbidden":
                hint = suggest(attribute, [*fields, *others]) or (
                    f"; its attributes are {listing(fields)}" if fields else "; it has no attributes")
                message = f"{name} has no attribute '{printable(attribute, 60)}'{hint}"
                misfits.append(Misfit(message, (attribute,), is_key=True))
            elif detail["type"] == "missing":
                message = f"{name} needs the attribute '{attribute}': {in_words(properties[attribute])}"
                misfits.append(Misfit(message, lacks=attribute))
            elif not attribute:
                misfits.append(Misfit(f"{name}: {detail['ctx']['error']}"))
            else:
                own = detail["type"] == "value_error"  # a rule of the attribute says what it expects
                expectation = detail["ctx"]["error"] if own else in_words(properties[attribute])
                message = f"'{attribute}' is {short(values[attribute])}; expected {expectation}"
                misfits.append(Misfit(message, (attribute,)))
        return {}, misfits
