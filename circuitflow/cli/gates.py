"""`circuitflow gates`."""

from __future__ import annotations

from json import dumps
from typing import Annotated, Any

import typer

from circuitflow.cli.arguments import Json
from circuitflow.cli.text import console, print_json, print_table
from circuitflow.document.faults import expected
from circuitflow.errors import InputError, nearest, printable
from circuitflow.gates import FAMILIES, GATES, AtLeast, Gate


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One gate; all of them by default.",
                                               show_default=False)] = None,
    json: Json = False,
) -> None:
    """The catalogue: operands, attributes, formulas.

    Example: circuitflow gates reduce_sum
    """
    if name is not None and name not in GATES:
        hint = nearest(name, GATES) or "; `circuitflow gates` lists them"
        raise InputError(f"there is no gate '{printable(name, 60)}'{hint}")
    if json:
        chosen = GATES if name is None else {name: GATES[name]}
        print_json({gate: _as_object(gate) for gate in chosen})
    elif name is None:
        rows = [[name if i == 0 else "", gate, operands(row), ", ".join(row.attributes.model_fields), row.formula]
                for name, family in FAMILIES.items() for i, (gate, row) in enumerate(family.items())]
        print_table([("family", "dim"), ("gate", "bold"), ("operands", ""), ("attributes", ""), ("formula", "green")],
                    rows)
    else:
        _print(name)


def operands(gate: Gate) -> str:
    """The operands of a gate in a few words."""
    if isinstance(gate.operands, AtLeast):
        return f"{gate.operands.minimum} or more"
    return ", ".join(gate.operands)


def _print(name: str) -> None:
    gate = GATES[name]
    console().print(f"{name}: {gate.formula}", style="bold")
    console().print(gate.summary)
    console().print(f"operands: {operands(gate)}")
    rows = [[attribute, str(field["description"]), expected(field),
             dumps(field["default"]) if "default" in field else "required"]
            for attribute, field in gate.attributes.model_json_schema().get("properties", {}).items()]
    if rows:
        print_table([("attribute", "bold"), ("meaning", ""), ("takes", ""), ("default", "")], rows)
    else:
        console().print("attributes: none")


def _as_object(name: str) -> dict[str, Any]:
    gate = GATES[name]
    return {
        "family": next(family for family, gates in FAMILIES.items() if name in gates),
        "formula": gate.formula,
        "summary": gate.summary,
        "symbol": gate.symbol,
        "operands": {"at_least": gate.operands.minimum} if isinstance(gate.operands, AtLeast) else list(gate.operands),
        "attributes": gate.attributes.model_json_schema().get("properties", {}),
    }
