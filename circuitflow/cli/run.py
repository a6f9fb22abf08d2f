"""`circuitflow run`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import numpy as np
import typer

import circuitflow as cf
from circuitflow.cli.arguments import (
    File,
    Gates,
    Inputs,
    Json,
    Limit,
    Of,
    Question,
    Set,
    Upstream,
    Wrt,
    arrays,
    assigned_values,
    question,
    split,
)
from circuitflow.cli.output import apart
from circuitflow.cli.progress import track
from circuitflow.cli.table import TableQuestion, run_table
from circuitflow.cli.text import cell, console, print_json, print_line, print_table, sum_of, warn_of, whole
from circuitflow.engines.table import ENGINES
from circuitflow.errors import InputError
from circuitflow.explanations.numbers import number
from circuitflow.text import few, printable

_ENGINES = ", ".join(f"{name} ({engine.words})" for name, engine in ENGINES.items())
_DEVICES = " ".join(f"Of the engine {name}: {engine.devices}." for name, engine in ENGINES.items() if engine.devices)


def command(
    file: File,
    assignments: Set = [],  # noqa: B006
    inputs: Inputs = None,
    of: Of = [],  # noqa: B006
    wrt: Wrt = [],  # noqa: B006
    upstream: Upstream = [],  # noqa: B006
    forward: Annotated[bool, typer.Option("--forward", help="The forward pass alone, without gradients.")] = False,
    jacobian: Annotated[bool, typer.Option("--jacobian", help="The Jacobian: outputs by what they depend on.")] = False,
    hessian: Annotated[bool, typer.Option("--hessian", help="The Hessian: gradients by what they depend on.")] = False,
    jvp: Annotated[list[str], typer.Option("--jvp", metavar="ID=VALUE", show_default=False,
                                           help="Forward mode: the outputs along a direction in which nodes move, each "
                                                "by a value.")] = [],  # noqa: B006
    json: Json = False,
    values: Annotated[list[str], typer.Option("--values", metavar="ID,…", show_default=False,
                                              help="Of --json: the nodes whose values it has, beside outputs (--of) "
                                                   "and gradients (--wrt). Without any of the three it has all "
                                                   "that there is.")] = [],  # noqa: B006
    engine: Annotated[str, typer.Option(help=f"auto, {_ENGINES}. Only the interpreter, which is auto without a table, "
                                             "shows every node.")] = "auto",
    device: Annotated[str | None, typer.Option(help=_DEVICES, show_default=False)] = None,
    cache: Annotated[str, typer.Option(help="What the interpreter keeps for the reverse sweep: all, needed, or "
                                            "recompute, for the memory of a square root of the depth. With less than "
                                            "all only outputs and gradients are shown.")] = "all",
    table: Annotated[str | None, typer.Option(metavar="ROWS", show_default=False,
                                              help="A table as .parquet, .arrow, .csv, .tsv or .jsonl, text also as "
                                                   ".gz, or - for CSV: a run for every row, whose columns are inputs "
                                                   "by name. Blanks around a name do not count.")] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Let inputs without a column in --table have the "
                                                              "document's values.")] = False,
    keep: Annotated[list[str], typer.Option("--keep", metavar="COLUMN,…", show_default=False,
                                            help="Columns of --table that stand first in the result, as they are.")
                    ] = [],  # noqa: B006
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT",
                                        help="Where the rows of --table go, as .parquet, .arrow or .csv; - is CSV on "
                                             "standard output.")] = "-",
    verify: Annotated[bool, typer.Option("--verify", help="Run the interpreter beside the engine, for every row of a "
                                                          "table, and stop at the first number that differs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which engine runs.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Print every value and every contribution as it comes about.")
                     ] = False,
    debug_nans: Annotated[bool, typer.Option("--debug-nans", help="Say which node first turned a number infinite or "
                                                                  "NaN, and exit with status 1.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show every number of an array; large ones are cut otherwise.")
                    ] = False,
    limit: Limit = [],  # noqa: B006
    gates: Gates = None,
) -> None:
    """Forward pass and reverse sweep: a table of node, gate, value, gradient.

    Example: circuitflow run circuits/product.json --set x=-3 --wrt x,y
    """
    if verbose:
        logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    asked = question(file, assignments, inputs, of, wrt, upstream, limit, gates, forward=forward)
    kinds = [name for name, given in (("--forward", forward), ("--jacobian", jacobian), ("--hessian", hessian),
                                      ("--jvp", jvp)) if given]
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kinds)} exclude one another; give one")
    warn_of(asked.circuit.unused())
    executor = cf.Executor(asked.circuit, verify=verify)
    fast = table is not None or engine not in ("auto", "interpreter") or device is not None
    if verify and not fast:
        raise InputError("--verify compares an engine with the interpreter; choose one by --engine, or give a --table")
    if fast and (jacobian or hessian or jvp or debug_nans or cache != "all"):
        raise InputError("--jacobian, --hessian, --jvp, --debug-nans and --cache go with the interpreter, without "
                         "--table")
    if cache != "all" and (forward or jacobian or hessian or jvp or debug_nans):
        raise InputError("--cache is about the reverse sweep of a single run; leave out what asks for another one")
    if trace and (fast or forward or jacobian or hessian or jvp or json or cache != "all"):
        raise InputError("--trace goes with a single run of the interpreter that keeps all values and prints a table")
    if table is None and (defaults or keep):
        raise InputError("--defaults and --keep go with --table")
    if values and (not json or jacobian or hessian or jvp or cache != "all"):
        raise InputError("--values goes with --json and a single run that keeps all values")
    apart(output, [*asked.sources, *assigned_values(jvp), table])
    if fast:
        if values:
            raise InputError("--values goes with the interpreter, which has the value of every node")
        if table is not None:
            if json:
                raise InputError("--table writes a table; leave out --json")
            run_table(table, output, TableQuestion(executor, asked.of, [] if forward else asked.wrt, asked.inputs,
                                                   asked.upstream, engine, device, split(keep) or [],
                                                   defaults=defaults))
        else:
            _fast(asked, executor, engine, device, forward=forward, json=json, full=full)
        return
    if output != "-":
        raise InputError("-o goes with --table; for a single run use --json and your shell's >")
    logging.getLogger("circuitflow").info("engine: interpreter")
    if jacobian or hessian or jvp:
        result = _derivative(asked, jacobian=jacobian, jvp=jvp)
    elif forward:
        result = executor.forward(asked.inputs, of=asked.of, track=track)
    else:
        result = executor.run(asked.inputs, of=asked.of, wrt=asked.wrt, upstream=asked.upstream, cache=cache,
                              track=track, watch=_Trace(asked.circuit) if trace else None)
    if json:
        print_json(_as_object(asked, result, split(values)))
    elif cache != "all":
        _print_asked(result, full=full)
        _print_sum(result, asked)
    elif result.circuit is asked.circuit:
        _print(result, full=full)
        _print_sum(result, asked)
    else:
        for name, value in result.outputs.items():
            print_line(f"{name} = {whole(value, full=full)}", "bold red")
    found = result.non_finite() if debug_nans else None
    if found:
        sys.stdout.flush()
        print(f"first number that is not finite: {found}", file=sys.stderr)
        raise typer.Exit(1)


class _Trace:
    """Prints what happens as it happens."""

    def __init__(self, circuit: cf.Circuit) -> None:
        self.circuit = circuit
        self.had: set[str] = set()

    def computed(self, name: str, value: Any) -> None:
        node = self.circuit.nodes[name.partition(".")[0]]
        self._print(f"{name} = {_application(node)} = ", number(value), "green")

    def arrived(self, name: str, gradient: Any) -> None:
        self.had.add(name)
        self._print(f"{self.circuit.gradient_name(name)} = ", number(gradient), "red", "  the upstream gradient")

    def sent(self, contribution: cf.Contribution, total: Any) -> None:
        name = contribution.source
        so_far = f", now {number(total)}" if name in self.had else ""
        self._print(f"{self.circuit.gradient_name(name)} {'+=' if so_far else '='} ", number(contribution.value), "red",
                    f"  from {contribution.target} = {_application(self.circuit.nodes[contribution.target])}{so_far}")
        self.had.add(name)

    @staticmethod
    def _print(before: str, shown: str, style: str, after: str = "") -> None:
        from rich.text import Text

        console().print(Text.assemble(before, (shown, style), (after, "dim")), soft_wrap=True)


def _fast(asked: Question, executor: cf.Executor, engine: str, device: str | None, *, forward: bool,
          json: bool, full: bool) -> None:
    """A run by a compiled engine: outputs and the gradients asked for."""
    wrt = [] if forward else asked.wrt
    plan = executor.plan(asked.of, wrt)
    value, gradients = executor.compile(asked.of, wrt, engine=engine, device=device)(
        asked.inputs, upstream=asked.upstream)
    values = dict(zip(plan.of, [value] if len(plan.of) == 1 else value.values(), strict=True))
    values = {name: np.asarray(x) for name, x in values.items()}
    result = cf.Result(asked.circuit, values, values, {name: np.asarray(x) for name, x in gradients.items()}, [])
    if json:
        print_json(_as_object(asked, result, None))
    else:
        _print_asked(result, full=full)
        _print_sum(result, asked)


def _print_sum(result: cf.Result, asked: Question) -> None:
    """Say what the gradients are those of, where there are several outputs."""
    summed = [name for name, value in result.outputs.items() if np.asarray(value).dtype.kind == "f"]
    if len(summed) > 1 and result.gradients:
        console().print(sum_of(summed, is_weighted=bool(asked.upstream or asked.circuit.upstream)), style="dim")


def _print_asked(result: cf.Result, *, full: bool) -> None:
    """The outputs and gradients that were asked for, where nothing else is known."""
    for name, x in result.outputs.items():
        print_line(f"{name} = {whole(x, full=full)}", "bold green")
    for name, x in result.gradients.items():
        print_line(f"{result.circuit.gradient_name(name)} = {whole(x, full=full)}", "bold red")


def _derivative(asked: Question, *, jacobian: bool, jvp: list[str]) -> cf.Result:
    """The values of a circuit made of the circuit: its Jacobian, its Hessian, or its derivative along tangents."""
    tangents = {}
    if jvp:
        if asked.wrt:
            raise InputError("--jvp names what moves; leave out --wrt")
        tangents = arrays(jvp, "--jvp", asked.circuit)
        derived = cf.jvp(asked.circuit, asked.of, list(tangents))
    else:
        derived = (cf.jacobian if jacobian else cf.hessian)(asked.circuit, asked.of, asked.wrt)
    # A parameter inside a call is one of the circuit here.
    inputs = {name.replace("/", "_"): value for name, value in asked.inputs.items()}
    inputs |= {f"{name.replace('/', '_').replace('.', '_')}_dot": value for name, value in tangents.items()}
    return cf.Executor(derived).forward(inputs, track=track)


def _as_object(asked: Question, result: cf.Result, values: list[str] | None) -> dict[str, Any]:
    """A result as `run --json` prints it: what was asked for, or all that there is."""
    if result.circuit is not asked.circuit:  # a derivative, whose nodes nobody has named
        return result.to_dict(values=(), gradients=(), contributions=False)
    if asked.of is None and asked.wrt is None and values is None:
        return result.to_dict()
    gradients = cf.Executor(asked.circuit).plan(asked.of, asked.wrt).wrt if result.gradients else ()
    return result.to_dict(values=values or (), gradients=gradients, contributions=False)


def _print(result: cf.Result, *, full: bool) -> None:
    circuit = result.circuit
    console().print(printable(circuit.name), style="bold")
    if circuit.document.description:
        console().print(printable(circuit.document.description, 1000), style="dim")
    forks: dict[str, list[cf.Contribution]] = {}
    for contribution in result.contributions:
        forks.setdefault(contribution.source, []).append(contribution)
    forks = {name: sent for name, sent in forks.items() if len(sent) > 1}
    # Only what there is gets a column.
    columns = [("node", ""), ("gate", "dim"), ("value", "right green"),
               *([("gradient", "right red")] if result.gradients else []),
               *([("adds up at the fork", "dim")] if forks else [])]
    rows = []
    for node in circuit.nodes.values():
        for name in node.names:
            if name in result.values:
                gradient = cell(result.gradients[name]) if name in result.gradients else ""
                sum_at_fork = " + ".join(f"{number(c.value, 4)} from {c.target}" for c in forks.get(name, [])[:4])
                more = " + …" if len(forks.get(name, [])) > 4 else ""
                label = f" ({printable(node.label, 40)})" if node.label else ""
                rows.append([name + label, _application(node), cell(result.values[name]), gradient,
                             sum_at_fork + more][: len(columns)])
    print_table(columns, rows)
    if full:
        _print_tensors(result)
    for name, value in result.outputs.items():
        print_line(f"{name} = {whole(value, full=full)}", "bold green")


def _print_tensors(result: cf.Result) -> None:
    """The arrays whose table tells shape and range alone."""
    for name, value in result.values.items():
        for called, x, style in ((name, value, "green"),
                                 (result.circuit.gradient_name(name), result.gradients.get(name), "red")):
            if x is not None and np.ndim(x) and name not in result.outputs and cell(x).startswith("("):
                print_line(f"{called} = {whole(x, full=True)}", style)


def _application(node: Any) -> str:
    """The gate with its operands, such as "mul(q, z)"."""
    shown = ", ".join(few((edge.source for edge in node.operands), 4))
    return str(node.kind) if node.is_source else f"{node.kind}({shown})"
