"""`circuitflow schema`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from circuitflow.cli.arguments import Gates, OutputFile, gate_files, table_of
from circuitflow.cli.output import apart, emit
from circuitflow.document.schema import DIALECT, GateForm, document_schema, identifier
from circuitflow.explanations.catalogue import operands
from circuitflow.gates import GATES, GateTable


class Which(StrEnum):
    """The schemas there are."""

    DOCUMENT = "document"
    RUN = "run"


def command(which: Annotated[Which, typer.Argument(metavar="document|run",
                                                   help="Of circuit documents, or of what `run --json` prints.")]
            = Which.DOCUMENT,
            output: OutputFile = None,
            gates: Gates = None) -> None:
    """The JSON Schema of documents, for your editor.

    What `new` and `grad` write with -o names the nearest circuit.schema.json, beside the document or above it.

    Example: circuitflow schema -o circuit.schema.json
    """
    table = table_of(gates)
    apart(output, gate_files(gates))
    emit(output, text(which, table))


def text(which: Which, table: GateTable = GATES) -> str:
    """A schema as it stands in `schemas/`."""
    schema = run_schema() if which is Which.RUN else document_schema(
        {name: GateForm(f"{gate.formula}: {gate.summary} Operands: {operands(gate)}.", gate.attributes)
         for name, gate in table.items()})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


TensorJson = Annotated[
    float | bool | Literal["NaN", "Infinity", "-Infinity"] | list[JsonValue] | dict[str, JsonValue],
    Field(description="a number, or nested lists of numbers; non-finite ones as text; an object where it is empty"),
]


class RunContribution(BaseModel):
    """What one edge sent back."""

    model_config = ConfigDict(extra="forbid")
    source: str
    target: str
    port: int | str
    value: TensorJson


class RunOutput(BaseModel):
    """What `circuitflow run --json` prints."""

    model_config = ConfigDict(extra="forbid")
    circuit: Annotated[str, Field(description="name of the circuit")]
    outputs: Annotated[dict[str, TensorJson], Field(description="the outputs, by reference")]
    values: Annotated[dict[str, TensorJson], Field(
        description="the values of nodes, by id: those asked for by --values, or of every node in schedule order")] = {}
    gradients: Annotated[dict[str, TensorJson], Field(
        description="the gradients asked for by --wrt, or that on every node that the sweep reached")] = {}
    contributions: Annotated[list[RunContribution], Field(description="of every edge, in the order of the sweep; where "
                                                                      "--of, --wrt and --values ask for nothing else")
                             ] = []


def run_schema() -> dict[str, Any]:
    """The schema of what `circuitflow run --json` prints."""
    schema = RunOutput.model_json_schema()
    return {"$schema": DIALECT, "$id": identifier("run", "1.0"), **schema, "title": "circuitflow run --json"}
