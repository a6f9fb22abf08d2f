"""`circuitflow gates`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from circuitflow.cli.arguments import Gates, Json, table_of
from circuitflow.cli.catalogue import attributes, example, facts, families, found, is_built_in, operands, page
from circuitflow.cli.text import console, print_json, print_table
from circuitflow.errors import InputError, nearest, printable
from circuitflow.gates import NOTES, AtLeast, Gate


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False,
                                               help="A gate, or a word to search for; all gates by default.")] = None,
    json: Json = False,
    whole: Annotated[bool, typer.Option("--page", help="The whole catalogue as a page of Markdown.")] = False,
    gates: Gates = None,
) -> None:
    """The catalogue: operands, attributes, formulas, gradients.

    Example: circuitflow gates reduce_sum
    """
    table = table_of(gates)
    if whole:
        if gates is not None:
            raise InputError("--page is of the built-in gates; leave out --gates")
        print("\n".join(page()))
        return
    chosen = list(table) if name is None else [name] if name in table else found(name, table)
    if name is not None and not chosen:
        hint = nearest(name, table) or "; `circuitflow gates` lists them"
        raise InputError(f"there is no gate '{printable(name, 60)}', and none that has it in its words{hint}")
    if json:
        print_json({gate: _as_object(gate, table[gate]) for gate in chosen})
    elif chosen == [name]:
        _print(chosen[0], table[chosen[0]])
    else:
        rows = [[family, gate, operands(row), ", ".join(row.attributes.model_fields), row.formula]
                for family, members in families(table).items() for gate, row in members.items() if gate in set(chosen)]
        for previous, row in zip(rows[-2::-1], rows[:0:-1], strict=True):  # a family is named once
            row[0] = "" if row[0] == previous[0] else row[0]
        print_table([("family", "dim"), ("gate", "bold"), ("operands", ""), ("attributes", ""), ("formula", "green")],
                    rows)


def _print(name: str, gate: Gate) -> None:
    console().print(f"{name}: {gate.formula}", style="bold")
    console().print(gate.summary)
    for heading, text in facts(name, gate):
        console().print(f"{heading}: {text}")
    if rows := attributes(gate):
        print_table([("attribute", "bold"), ("meaning", ""), ("takes", ""), ("default", "")], rows)
    else:
        console().print("attributes: none")
    if is_built_in(name, gate):
        print(example(name))


def _as_object(name: str, gate: Gate) -> dict[str, Any]:
    return {
        "family": next(family for family, gates in families({name: gate}).items() if name in gates),
        "formula": gate.formula,
        "summary": gate.summary,
        "symbol": gate.symbol,
        "operands": {"at_least": gate.operands.minimum} if isinstance(gate.operands, AtLeast) else list(gate.operands),
        "optional": gate.optional,
        "attributes": gate.attributes.model_json_schema().get("properties", {}),
        **(NOTES[name]._asdict() if is_built_in(name, gate) else {}),
    }
