"""The arguments that commands share, and what they mean."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

import circuitflow as cf
from circuitflow.arguments import fits
from circuitflow.cli.progress import track, waiting
from circuitflow.document.faults import Faults, Source
from circuitflow.document.limits import DEFAULT
from circuitflow.document.model import Value
from circuitflow.document.positions import Path as Pointer
from circuitflow.document.reading import is_lost, parse_as, read
from circuitflow.document.tensors import TensorFiles
from circuitflow.document.writing import spell
from circuitflow.errors import InputError
from circuitflow.gates import GateTable
from circuitflow.graph.values import Datum, read_values
from circuitflow.text import nearest, printable, short

File = Annotated[str, typer.Argument(metavar="FILE", help="A circuit document, or an ONNX model; - reads a "
                                                          "document from standard input.",
                                     show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="ID=VALUE", default_factory=list, show_default=False,
                                        help="Value of an input or parameter: a number, JSON, or a file of JSON.")]
Inputs = Annotated[str | None, typer.Option(metavar="FILE", help="A JSON object of values, by id.", show_default=False)]
Of = Annotated[list[str], typer.Option("--of", metavar="ID,…", default_factory=list, show_default=False,
                                       help="Nodes to compute and differentiate; all outputs by default. The gradient "
                                            "of several is that of their sum.")]
Wrt = Annotated[list[str], typer.Option("--wrt", metavar="ID,…", default_factory=list, show_default=False,
                                        help="Nodes to differentiate by; all inputs and parameters by default.")]
Upstream = Annotated[list[str], typer.Option("--upstream", metavar="ID=VALUE", default_factory=list, show_default=False,
                                             help="Upstream gradient on an output: a number, JSON, or a file of JSON.")]
Limit = Annotated[list[str], typer.Option("--limit", metavar="NAME=N", default_factory=list, show_default=False,
                                          help="Set a limit: document_bytes, header_bytes, nodes, nesting, digits, "
                                               "text, tensor_bytes or run_bytes.")]
Gates = Annotated[str | None, typer.Option("--gates", metavar="MODULE:TABLE", show_default=False,
                                           help="Your own gate table: a Python module and the table in it. The module "
                                                "is imported, so it is code that you trust.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Watch = Annotated[bool, typer.Option("--watch", help="Do it again at every save of a file that is read, until Ctrl-C.")]
ForwardOnly = Annotated[bool, typer.Option("--forward", help="Only the forward pass, without gradients.")]
ThemeName = Annotated[str, typer.Option(metavar="NAME", help="Colours of the picture: light or dark.")]
OutputFile = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", show_default=False,
                                                help="File to write; standard output by default.")]
NewDocument = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", show_default=False,
                                                 help="Document to write, standard output by default. Unless its "
                                                      "folder or one above has a circuit.schema.json, one is written "
                                                      "beside it for your editor.")]


@dataclass(frozen=True)
class Request:
    """The contents of the options: a circuit, the arguments of `Executor.run`, and the files read, if they exist."""

    circuit: cf.Circuit
    inputs: Mapping[str, Any]
    of: list[str] | None
    wrt: list[str] | None
    upstream: Mapping[str, Any]
    sources: list[str]

    def run(self, *, forward: bool) -> cf.Result:
        """The values, and the gradients unless `forward` is true, by the interpreter."""
        executor = cf.Executor(self.circuit)
        if forward:
            return executor.forward(self.inputs, of=self.of, track=track)
        return executor.run(self.inputs, of=self.of, wrt=self.wrt, upstream=self.upstream, track=track)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of every command that runs a circuit, as they stand on the command line."""

    file: File
    assignments: Set
    inputs: Inputs = None
    of: Of
    wrt: Wrt
    upstream: Upstream
    limit: Limit
    gates: Gates = None

    def request(self, *, forward: bool = False) -> Request:
        """Load the circuit and read the values.

        Raises:
            DocumentError: the circuit, or a file of values, is not valid.
            InputError: a value cannot be read or has no node; or `forward` leaves out gradients that are requested.
        """
        if forward and (self.wrt or self.upstream):
            raise InputError("--forward leaves gradients out, so --wrt and --upstream have no meaning beside it; leave "
                             "out one or the other")
        circuit = load_circuit(self.file, self.limit, self.gates)
        values: dict[str, Any] = {}
        if self.inputs is not None:
            faults = Faults()
            source = read(self.inputs, faults, circuit.limits)
            document: dict[str, Any] = parse_as(TypeAdapter(dict[str, Value]), source, faults) or {}
            values = _arrays({name: (value, (name,)) for name, value in document.items()}, circuit, source, faults)
        values |= arrays(self.assignments, "--set", circuit)
        sources = [self.file, *circuit.files, *gate_files(self.gates), *([self.inputs] if self.inputs else []),
                   *assigned_values([*self.assignments, *self.upstream])]
        return Request(circuit, values, split(self.of), split(self.wrt), arrays(self.upstream, "--upstream", circuit),
                       sources)


def with_options(command: Callable[..., None],
                 again: Callable[[Callable[..., None], Options, dict[str, Any]], None] | None = None
                 ) -> Callable[..., None]:
    """The command with an argument for every field of `Options` in place of its first parameter; all are by keyword.

    With `again` it has an option `--watch`, which calls that with the command and its arguments.
    """
    @functools.wraps(command)
    def call(*, watch: bool = False, **arguments: Any) -> None:
        options = Options(**{field.name: arguments.pop(field.name) for field in fields(Options)})
        if watch and again is not None:
            again(command, options, arguments)
        else:
            command(options, **arguments)

    *first, limit, gates = signature(Options, eval_str=True).parameters.values()
    own = list(signature(command, eval_str=True).parameters.values())[1:]
    if again is not None:
        own.append(Parameter("watch", Parameter.KEYWORD_ONLY, default=False, annotation=Watch))
    call.__signature__ = Signature([*first, *own, limit, gates])  # type: ignore[attr-defined]
    return call


def load_circuit(file: str, limit: list[str], gates: str | None = None) -> cf.Circuit:
    """The circuit in a file; of an ONNX model, that which `import` writes.

    Raises:
        DocumentError: the circuit is not valid.
        InputError: there is no such limit, or no such gate table.
    """
    limits, table = limits_of(limit), table_of(gates)
    with waiting(f"loading {printable(file, 60)}"):
        if file.lower().endswith(".onnx"):
            from circuitflow.onnx.importing import import_model
            from circuitflow.onnx.reading import read_model

            circuit = import_model(read_model(file, limits)).circuit
            return circuit if gates is None else circuit.with_gates(table)
        return cf.load(file, limits=limits, gates=table)


def table_of(gates: str | None) -> GateTable:
    """The gate table that an option MODULE:TABLE names, from the working folder or what is installed.

    Raises:
        InputError: there is no such module or table, the module cannot be imported, or the table is none.
    """
    if gates is None:
        return cf.GATES
    module, colon, path = gates.partition(":")
    option = f"--gates {printable(gates, 60)}"
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise InputError(f"{option}: expected MODULE:TABLE, such as --gates mygates:TABLE")
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        table: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise InputError(f"{option}: the module '{module}' cannot be imported: {type(error).__name__}: "
                         f"{printable(str(error))}") from None
    for name in path.split("."):
        if not hasattr(table, name):
            raise InputError(f"{option}: '{module}' has no '{name}'{nearest(name, dir(table))}")
        table = getattr(table, name)
    if not fits(table, Mapping[str, cf.Gate]):
        raise InputError(f"{option} is {short(table)}; expected a mapping from names to gates, such as "
                         "{**cf.GATES, \"cube\": cf.Gate(…)}")
    return table  # type: ignore[no-any-return]


def gate_files(gates: str | None) -> list[str]:
    """The files of the module of an option MODULE:TABLE, and of its packages, once `table_of` has imported it."""
    parts = gates.partition(":")[0].split(".") if gates else []
    modules = (sys.modules.get(".".join(parts[:i + 1])) for i in range(len(parts)))
    return [file for module in modules if (file := getattr(module, "__file__", None))]


def limits_of(limit: list[str]) -> cf.Limits:
    """The limits that options NAME=N set."""
    limits = {}
    for text in limit:
        name, equals, number = text.partition("=")
        if not equals or not number.isdecimal() or len(number) > 20:
            raise InputError(f"--limit {printable(text, 60)}: expected NAME=N, such as --limit nodes=1000")
        limits[name] = int(number)
    return cf.Limits.of(**limits)


def assigned_values(assignments: list[str]) -> list[str]:
    """The values of options ID=VALUE, as they are written."""
    return [text.partition("=")[2] for text in assignments]


def arrays(assignments: list[str], option: str, circuit: cf.Circuit) -> dict[str, Any]:
    """The values of an option ID=VALUE, in the dtypes of the nodes.

    Raises:
        DocumentError: a file of values is not valid.
        InputError: a value is not one.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, value, source = assignment(text, option, circuit.limits)
        values |= _arrays({name: (value, ())}, circuit, source, Faults())
    return values


def split(references: list[str]) -> list[str] | None:
    """References separated by commas; None where there are none."""
    names = [name.strip() for reference in references for name in reference.split(",") if name.strip()]
    return names or None


def assignment(text: str, option: str, limits: cf.Limits = DEFAULT) -> tuple[str, Any, Source]:
    """An option ID=VALUE, where VALUE is a number, JSON, or a file of JSON."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{option} {printable(text, 60)}: expected ID=VALUE, such as {option} x=3")
    faults, number = Faults(), _number(value)
    source = Source(f"{option} {printable(name, 60)}", number or value, Path(), limits)
    if number is None and value[:1] not in ("[", "{", '"') and value not in ("true", "false"):
        if not os.path.isfile(value):
            raise InputError(f"{option} {printable(text, 60)}: '{printable(value, 60)}' is no number, no JSON and no "
                             "file")
        source = read(value, faults, limits)
    content: Any = parse_as(TypeAdapter(Value), source, faults)
    faults.raise_if_any()
    return name, content, source


def _number(text: str) -> str | None:
    """The JSON of a number that is written as in Python, such as .5 and inf; None where it is none.

    A number that a float would make infinite or 0 stays as it is, so that it is refused.
    """
    with suppress(ValueError):
        return json.dumps(int(text))
    with suppress(ValueError):
        value = float(text)
        return text if "inf" not in text.casefold() and is_lost(text, value) else json.dumps(spell(value))
    return None


def _arrays(values: Mapping[str, tuple[Any, Pointer]], circuit: cf.Circuit, source: Source,
            faults: Faults) -> dict[str, Any]:
    """The arrays of values, each in the dtype of its node unless it declares its own.

    Raises:
        DocumentError: a value is not one.
    """
    entries = {}
    for name, (value, pointer) in values.items():
        output = circuit.find(name)
        dtype = circuit.type_of(output).dtype if output else "float64"
        entries[name] = Datum(f"'{printable(name, 60)}': ", value, None if getattr(value, "dtype", None) else dtype,
                              dtype, source, pointer)
    result = read_values(entries, TensorFiles(source.limits, faults.nearest), faults)
    faults.raise_if_any()
    return result or {}
