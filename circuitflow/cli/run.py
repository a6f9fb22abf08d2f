"""`circuitflow run`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import circuitflow as cf
from circuitflow.cli.arguments import ForwardOnly, Json, Options, Request, arrays, assigned_values, split
from circuitflow.cli.output import apart
from circuitflow.cli.progress import track
from circuitflow.cli.text import cell, console, print_json, print_line, print_table, warn_of, whole
from circuitflow.cli.watching import watched
from circuitflow.engines.table import ENGINES
from circuitflow.errors import InputError
from circuitflow.interpreter.question import Question
from circuitflow.text import application, number, printable, sum_of

if TYPE_CHECKING:
    from circuitflow.tables.places import Part

_ENGINES = ", ".join(f"{name} ({engine.words})" for name, engine in ENGINES.items())
_DEVICES = " ".join(f"Of the engine {name}: {engine.devices}." for name, engine in ENGINES.items() if engine.devices)


@watched
def command(
    options: Options,
    *,
    forward: ForwardOnly = False,
    jacobian: Annotated[bool, typer.Option("--jacobian", help="Print the Jacobian: the derivative of every output by "
                                                              "every --wrt node.")] = False,
    hessian: Annotated[bool, typer.Option("--hessian", help="Print the Hessian: the second derivatives by the --wrt "
                                                            "nodes.")] = False,
    jvp: Annotated[list[str], typer.Option("--jvp", metavar="ID=VALUE", default_factory=list, show_default=False,
                                           help="Forward mode: the derivative of the outputs along a direction, in "
                                                "which each ID moves by its VALUE.")],
    json: Json = False,
    values: Annotated[list[str], typer.Option("--values", metavar="ID,…", default_factory=list, show_default=False,
                                              help="With --json: print the values of these nodes, beside outputs "
                                                   "(--of) and gradients (--wrt). Without any of the three, --json "
                                                   "prints everything.")],
    engine: Annotated[str, typer.Option(metavar="NAME",
                                        help=f"auto, {_ENGINES}. Without a table, auto is the interpreter, the only "
                                             "engine that shows every node.")] = "auto",
    device: Annotated[str | None, typer.Option(metavar="NAME", help=_DEVICES, show_default=False)] = None,
    cache: Annotated[str, typer.Option(metavar="NAME",
                                       help="What the interpreter keeps for the reverse sweep. all: every value. "
                                            "needed: the values that a backward rule reads. recompute: about the "
                                            "square root of their number; it computes the others again. With needed "
                                            "or recompute, only outputs and gradients are shown.")] = "all",
    table: Annotated[list[str], typer.Option("--table", metavar="ROWS", default_factory=list, show_default=False,
                                             help="Run once for every row of a table, whose columns have the names "
                                                  "of inputs: .parquet, .arrow, .csv, .tsv or .jsonl, text also as "
                                                  ".gz; - reads CSV from standard input. A folder, a pattern such as "
                                                  "'*.parquet', or a URL such as s3://… may stand for files; repeat "
                                                  "for several. Blanks around a name do not count.")],
    defaults: Annotated[bool, typer.Option("--defaults", help="With --table: an input without a column has the "
                                                              "document's value.")] = False,
    keep: Annotated[list[str], typer.Option("--keep", metavar="COLUMN,…", default_factory=list, show_default=False,
                                            help="With --table: columns to copy to the front of the result.")],
    total: Annotated[bool, typer.Option("--sum", help="With --table: one row of results, the sums of outputs and "
                                                      "gradients over all rows; --json prints it.")] = False,
    mean: Annotated[bool, typer.Option("--mean", help="With --table: one row of results, the means over all rows; "
                                                      "--json prints it.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT",
                                        help="With --table: file of the results, .parquet, .arrow or .csv; - writes "
                                             "CSV to standard output. A folder, such as results/, gets a Parquet file "
                                             "for every file of the table.")] = "-",
    resume: Annotated[bool, typer.Option("--resume", help="With -o FOLDER/: write only the parts that an earlier run "
                                                          "did not.")] = False,
    cluster: Annotated[str | None, typer.Option("--cluster", metavar="WHERE", show_default=False,
                                                help="With -o FOLDER/, --sum or --mean: compute on the workers of a "
                                                     "cluster of Dask: local or local:N for N processes of this "
                                                     "machine, or the address of a scheduler, such as "
                                                     "tcp://host:8786.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare the engine with the interpreter, for every row of a "
                                                          "table, and stop at the first number that differs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name the engine that runs.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Print every value and every contribution when it is "
                                                        "computed.")] = False,
    debug_nans: Annotated[bool, typer.Option("--debug-nans", help="Name the first node with an infinity or NaN, and "
                                                                  "exit with status 1.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show every number of an array. Otherwise large arrays are cut.")
                    ] = False,
) -> None:
    """Compute values and gradients: a table of node, gate, value, gradient.

    Example: circuitflow run circuits/product.json --set x=-3 --wrt x,y
    """
    if verbose:
        logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    request = options.request(forward=forward)
    kinds = [name for name, is_set in (("--forward", forward), ("--jacobian", jacobian), ("--hessian", hessian),
                                       ("--jvp", jvp)) if is_set]
    reductions = [name for name, is_set in (("--sum", total), ("--mean", mean)) if is_set]
    for exclusive in (kinds, reductions):
        if len(exclusive) > 1:
            raise InputError(f"{' and '.join(exclusive)} exclude one another; give one")
    warn_of(request.circuit.unused())
    executor = cf.Executor(request.circuit, verify=verify)
    fast = bool(table) or engine not in ("auto", "interpreter") or device is not None
    if verify and not fast:
        raise InputError("--verify compares an engine with the interpreter; choose one by --engine, or give a --table")
    if fast and (jacobian or hessian or jvp or debug_nans or cache != "all"):
        raise InputError("--jacobian, --hessian, --jvp, --debug-nans and --cache go with the interpreter, without "
                         "--table")
    if cache != "all" and (forward or jacobian or hessian or jvp or debug_nans):
        raise InputError("--cache goes with a plain run; leave out --forward, --jacobian, --hessian, --jvp and "
                         "--debug-nans")
    if trace and (fast or forward or jacobian or hessian or jvp or json or cache != "all"):
        raise InputError("--trace goes with a single run of the interpreter that keeps all values and prints a table")
    of_tables = [*["--resume"] * resume, *reductions, *["--cluster"] * (cluster is not None)]
    if not table and (defaults or keep or of_tables):
        raise InputError(f"{f'{of_tables[0]} goes' if of_tables else '--defaults and --keep go'} with --table")
    if values and (not json or jacobian or hessian or jvp or cache != "all"):
        raise InputError("--values goes with --json and a single run that keeps all values")
    parts = _parts(table)
    apart(output, [*request.sources, *assigned_values(jvp), *(part.local for part in parts)])
    if fast and values:
        raise InputError("--values goes with the interpreter, which has the value of every node")
    if parts:
        from circuitflow.cli.dataset import is_dataset, write_dataset
        from circuitflow.cli.sums import write_sums
        from circuitflow.cli.table import write_table
        from circuitflow.rows.task import RowTask

        if json and not reductions:
            raise InputError("--table writes a table; leave out --json")
        question = Question(executor, request.of, () if forward else request.wrt)
        task = RowTask(executor, question, request.inputs, request.upstream, engine, device, split(keep) or [],
                       defaults=defaults)
        if is_dataset(output) and not reductions:
            write_dataset(parts, output, task, resume=resume, cluster=cluster)
        elif cluster is not None and not reductions:
            raise InputError("--cluster writes a folder, with a file for every file of the table, or sums; give "
                             "-o FOLDER/, --sum or --mean")
        elif resume:
            raise InputError("--resume goes with a folder of results, such as -o results/; a single file is written "
                             "whole or not at all")
        elif reductions:
            write_sums(parts, output, task, mean=mean, json=json, cluster=cluster)
        else:
            write_table(parts, output, task)
        return
    if fast:
        result = _run_engine(request, executor, engine, device, forward=forward)
        if json:
            print_json(_as_object(request, executor, result, None))
        else:
            _print_outputs(request, result, full=full)
        return
    if output != "-":
        raise InputError("-o goes with --table; for a single run use --json and your shell's >")
    logging.getLogger("circuitflow").info("engine: interpreter")
    if jacobian or hessian or jvp:
        result = _derivative(request, jacobian=jacobian, jvp=jvp)
    elif forward:
        result = executor.forward(request.inputs, of=request.of, track=track)
    else:
        result = executor.run(request.inputs, of=request.of, wrt=request.wrt, upstream=request.upstream, cache=cache,
                              track=track, watch=_Trace(request.circuit) if trace else None)
    if json:
        print_json(_as_object(request, executor, result, split(values)))
    elif cache != "all":
        _print_outputs(request, result, full=full)
    elif result.circuit is request.circuit:
        _print(result, full=full)
        _print_sum(request, result)
    else:
        for name, value in result.outputs.items():
            print_line(f"{name} = {whole(value, full=full)}", "bold red")
    culprit = result.non_finite() if debug_nans else None
    if culprit:
        sys.stdout.flush()
        print(f"first number that is not finite: {culprit}", file=sys.stderr)
        raise typer.Exit(1)


def _parts(table: list[str]) -> Sequence[Part]:
    """The files of a table; without one nothing is imported."""
    if not table:
        return ()
    from circuitflow.tables.places import find_parts

    return find_parts(table)


class _Trace:
    """Prints every value and every contribution when it is computed."""

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
    def _print(before: str, number_text: str, style: str, after: str = "") -> None:
        from rich.text import Text

        console().print(Text.assemble(before, (number_text, style), (after, "dim")), soft_wrap=True)


def _run_engine(request: Request, executor: cf.Executor, engine: str, device: str | None, *,
                forward: bool) -> cf.Result:
    """The outputs and gradients that a compiled engine computes."""
    question = Question(executor, request.of, () if forward else request.wrt)
    function = executor.function(question, engine, device)
    answer = function.answer(*question.arguments(request.inputs, request.upstream, {}))
    outputs, gradients = (dict(zip(references, map(np.asarray, arrays), strict=True))
                          for references, arrays in zip((question.plan.of, question.plan.wrt), answer, strict=True))
    return cf.Result(request.circuit, outputs, outputs, gradients, [])


def _print_outputs(request: Request, result: cf.Result, *, full: bool) -> None:
    """Print the outputs and gradients of a result without other values."""
    for name, x in result.outputs.items():
        print_line(f"{name} = {whole(x, full=full)}", "bold green")
    for name, x in result.gradients.items():
        print_line(f"{result.circuit.gradient_name(name)} = {whole(x, full=full)}", "bold red")
    _print_sum(request, result)


def _print_sum(request: Request, result: cf.Result) -> None:
    """Say what the gradients are those of, where there are several outputs."""
    floats = [name for name, value in result.outputs.items() if np.asarray(value).dtype.kind == "f"]
    if len(floats) > 1 and result.gradients:
        console().print(sum_of(floats, is_weighted=bool(request.upstream or request.circuit.upstream)), style="dim")


def _derivative(request: Request, *, jacobian: bool, jvp: list[str]) -> cf.Result:
    """The result of a derived circuit: the Jacobian, the Hessian, or the derivative along tangents."""
    tangents = {}
    if jvp:
        if request.wrt:
            raise InputError("--jvp names what moves; leave out --wrt")
        tangents = arrays(jvp, "--jvp", request.circuit)
        circuit = cf.jvp(request.circuit, request.of, list(tangents))
    else:
        circuit = (cf.jacobian if jacobian else cf.hessian)(request.circuit, request.of, request.wrt)
    # A parameter inside a call is one of the circuit here.
    inputs = {name.replace("/", "_"): value for name, value in request.inputs.items()}
    inputs |= {f"{name.replace('/', '_').replace('.', '_')}_dot": value for name, value in tangents.items()}
    return cf.Executor(circuit).forward(inputs, track=track)


def _as_object(request: Request, executor: cf.Executor, result: cf.Result, values: list[str] | None) -> dict[str, Any]:
    """A result as `run --json` prints it: the requested parts, by default everything."""
    if result.circuit is not request.circuit:  # a derivative, whose nodes nobody has named
        return result.to_dict(values=(), gradients=(), contributions=False)
    if request.of is None and request.wrt is None and values is None:
        return result.to_dict()
    gradients = executor.plan(request.of, request.wrt).wrt if result.gradients else ()
    return result.to_dict(values=values or (), gradients=gradients, contributions=False)


def _print(result: cf.Result, *, full: bool) -> None:
    circuit = result.circuit
    console().print(printable(circuit.name), style="bold")
    if circuit.document.description:
        console().print(printable(circuit.document.description, 1000), style="dim")
    forks: dict[str, list[cf.Contribution]] = {}
    for contribution in result.contributions:
        forks.setdefault(contribution.source, []).append(contribution)
    forks = {name: branches for name, branches in forks.items() if len(branches) > 1}
    # A column without entries is left out.
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
    """Print the arrays that the table shows by shape and range alone."""
    for name, value in result.values.items():
        for label, x, style in ((name, value, "green"),
                                (result.circuit.gradient_name(name), result.gradients.get(name), "red")):
            if x is not None and np.ndim(x) and name not in result.outputs and cell(x).startswith("("):
                print_line(f"{label} = {whole(x, full=True)}", style)


def _application(node: Any) -> str:
    """The gate with its first operands."""
    return application(node.kind, (edge.source for edge in node.operands), 4)
