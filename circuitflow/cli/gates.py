"""`circuitflow gates`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from circuitflow.cli import kinds
from circuitflow.cli.arguments import Gates, Json, table_of
from circuitflow.cli.text import console, print_json, print_table
from circuitflow.document.model import NODES
from circuitflow.errors import InputError
from circuitflow.explanations import catalogue
from circuitflow.explanations.catalogue import Attribute, attributes, example, facts, families, operands, search
from circuitflow.gates import GATES, AtLeast, Gate, suggestion
from circuitflow.gates.names import instead
from circuitflow.gates.record import spell_out
from circuitflow.text import printable


def _complete(incomplete: str) -> list[tuple[str, str]]:
    """The gates whose names begin so, with what they compute, for a shell."""
    return [(name, gate.formula) for name, gate in GATES.items() if name.startswith(incomplete)]


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, autocompletion=_complete,
                                               help="A gate, a kind of nodes, or a word to search for; "
                                                    "all gates by default.")] = None,
    json: Json = False,
    whole: Annotated[bool, typer.Option("--page", help="The whole catalogue as a page of Markdown.")] = False,
    gates: Gates = None,
) -> None:
    """The catalogue: operands, attributes, formulas, gradients.

    Example: circuitflow gates reduce_sum
    """
    table = table_of(gates)
    if whole:
        print("\n".join([*catalogue.page(table), *kinds.section()]))
        return
    if name in NODES:
        kind = kinds.describe(str(name))
        if json:
            print_json({name: {"summary": kind.summary, "keys": {key.name: key.meaning for key in kind.keys}}})
        else:
            _print(f"{name}: a kind of nodes", kind.summary, (), "key", kind.keys, kind.example)
        return
    names = list(table) if name is None else [name] if name in table else search(name, table)
    remedy = instead(name, [*table, *NODES]) if name is not None and name not in table else None
    if name is not None and not names and not remedy:
        hint = suggestion(name, [*table, *NODES])
        raise InputError(f"there is no gate '{printable(name, 60)}', and no gate whose description has it{hint}")
    if remedy and not json:
        console().print(f"{printable(str(name), 60)}: {remedy.removeprefix('; ')}", style="bold")
    if json:
        print_json({gate: _as_object(gate, table[gate]) for gate in names})
    elif names == [name]:
        gate = table[names[0]]
        _print(f"{name}: {gate.formula}", gate.summary, facts(gate), "attribute", attributes(gate),
               example(names[0], table))
    elif names:
        rows = [[family, gate, operands(row), ", ".join(row.attributes.model_fields), row.formula]
                for family, members in families(table).items() for gate, row in members.items() if gate in set(names)]
        for previous, row in zip(rows[-2::-1], rows[:0:-1], strict=True):  # a family is named once
            row[0] = "" if row[0] == previous[0] else row[0]
        print_table([("family", "dim"), ("gate", "bold"), ("operands", ""), ("attributes", ""), ("formula", "green")],
                    rows)


def _print(title: str, summary: str, remarks: Iterable[tuple[str, str]], heading: str, rows: list[Attribute],
           document: str) -> None:
    console().print(title, style="bold")
    console().print(summary)
    for subject, text in remarks:
        console().print(f"{subject}: {text}")
    if rows:
        print_table([(heading, "bold"), ("meaning", ""), ("takes", ""), ("default", "")], rows)
    else:
        console().print(f"{heading}s: none")
    if document:
        print(document)


def _as_object(name: str, gate: Gate) -> dict[str, Any]:
    note = gate.facets.note
    return {
        "family": next(family for family, gates in families({name: gate}).items() if name in gates),
        "formula": gate.formula,
        "summary": gate.summary,
        "symbol": gate.symbol,
        "operands": {"at_least": gate.operands.minimum} if isinstance(gate.operands, AtLeast) else list(gate.operands),
        "optional": gate.optional,
        "attributes": gate.attributes.model_json_schema().get("properties", {}),
        **({"gradient": spell_out(note.gradient), "kinks": note.kinks, "onnx": str(note.onnx), "numpy": note.numpy,
            "also": note.also, "words": spell_out(note.words), "routes": note.routes} if note.gradient else {}),
    }
