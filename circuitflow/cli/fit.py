"""`circuitflow fit`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import circuitflow as cf
from circuitflow.cli.arguments import File, Gates, Json, Limit, assigned_values, gate_files, load_circuit
from circuitflow.cli.cluster import client_of
from circuitflow.cli.documents import emit_document
from circuitflow.cli.fit_progress import FitProgress, Interruption
from circuitflow.cli.fitting import Settings
from circuitflow.cli.output import apart, emit, form_of
from circuitflow.cli.table import form_of_table
from circuitflow.cli.text import print_json, print_line
from circuitflow.document.files import beside
from circuitflow.document.fit import DataFile
from circuitflow.document.output import is_stream, write
from circuitflow.document.writing import dumps_value
from circuitflow.errors import InputError
from circuitflow.fitting.history import history, history_of_training
from circuitflow.fitting.methods import METHODS
from circuitflow.fitting.optimisers import SCHEDULES
from circuitflow.fitting.outcome import Step
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.plots import PLOTS, plot
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.stochastic import Progress
from circuitflow.fitting.writing import IN_PLACE, fitted_document, result_entry
from circuitflow.tables.output import table_writer
from circuitflow.tables.places import find_parts
from circuitflow.text import printable

_METHODS = ", ".join(f"{name} ({method.words})" for name, method in METHODS.items() if not method.is_stochastic)
_OPTIMISERS = ", ".join(name for name, method in METHODS.items() if method.is_stochastic)


def _list(option: str, metavar: str, text: str) -> Any:
    return typer.Option(option, metavar=metavar, default_factory=list, show_default=False, help=text)


def _one(option: str, metavar: str, text: str) -> Any:
    return typer.Option(option, metavar=metavar, show_default=False, help=text)


def command(
    file: File,
    data: Annotated[list[str] | None, typer.Argument(metavar="DATA", show_default=False,
                                                     help="The rows: .csv, .tsv, .jsonl, .parquet or .arrow; one file "
                                                          "or several, a folder, a pattern or a URL. By default the "
                                                          "file that the document names.")] = None,
    *,
    columns: Annotated[list[str], _list("--columns", "INPUT=COLUMN", "The column of an input; the one of its own name "
                                                                     "by default.")],
    residuals: Annotated[str | None, _one("--residuals", "REF", "The node whose sum of squares is minimised.")] = None,
    sigma: Annotated[str | None, _one("--sigma", "REF", "The node that the residuals are divided by.")] = None,
    sigma_column: Annotated[str | None, _one("--sigma-column", "COLUMN",
                                               "The column that the residuals are divided by.")] = None,
    absolute_sigma: Annotated[bool, typer.Option("--absolute-sigma", help="The sizes of sigma count, not only their "
                                                                          "ratios.")] = False,
    loss: Annotated[str | None, _one("--loss", "REF", "The node that is minimised.")] = None,
    reduction: Annotated[str | None, _one("--reduction", "NAME", "How rows make one loss: mean or sum.")] = None,
    likelihood: Annotated[bool, typer.Option("--likelihood", help="The loss is a negative log-likelihood, so "
                                                                  "there are standard errors.")] = False,
    constraint: Annotated[list[str], _list("--constraint", "REF=KIND", "A node that must be nonnegative, or zero.")],
    method: Annotated[str | None, _one("--method", "NAME", f"{_METHODS}, or by minibatches Optax's {_OPTIMISERS}. "
                                                           "auto by default.")] = None,
    option: Annotated[list[str], _list("--option", "KEY=VALUE", "An option of the method, such as loss=huber.")],
    least: Annotated[list[str], _list("--min", "ID=VALUE", "The least value of a parameter.")],
    most: Annotated[list[str], _list("--max", "ID=VALUE", "The largest value of a parameter.")],
    freeze: Annotated[list[str], _list("--freeze", "ID,…", "Parameters that keep their values.")],
    free: Annotated[list[str], _list("--free", "ID,…", "Parameters that are free although the document freezes them.")],
    start: Annotated[list[str], _list("--start", "ID=VALUE", "Where a parameter starts.")],
    tolerance: Annotated[float | None, _one("--tolerance", "X", "The fit ends when parameters and objective change "
                                                                "by less than this, relative to their size.")] = None,
    max_evaluations: Annotated[int | None, _one("--max-evaluations", "N",
                                                "The largest number of passes over the data.")] = None,
    seed: Annotated[int | None, _one("--seed", "N", "Seed of all random numbers.")] = None,
    starts: Annotated[int | None, _one("--starts", "N", "Number of starting points, drawn at random.")] = None,
    batch_size: Annotated[int | None, _one("--batch-size", "N", "Number of rows in a step by minibatches.")] = None,
    epochs: Annotated[int | None, _one("--epochs", "N", "Number of passes over the rows by minibatches.")] = None,
    schedule: Annotated[str | None, _one("--schedule", "NAME", f"How the step size changes: {', '.join(SCHEDULES)}."
                                         )] = None,
    schedule_option: Annotated[list[str], _list("--schedule-option", "KEY=VALUE", "An option of the schedule.")],
    validation: Annotated[str | None, _one("--validation", "FILE|X", "Rows to validate with: a file beside or below "
                                                                     "the document, or a fraction of them.")] = None,
    on_nan: Annotated[str | None, _one("--on-nan", "NAME", "What happens if a step of a training is not finite: "
                                                           "stop before it (by default), skip it, or raise.")] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="auto, interpreter, staged, tape or jax.")] = "auto",
    device: Annotated[str | None, _one("--device", "NAME", "Of methods by minibatches: cpu, gpu, or all, which share "
                                                           "the rows of every step.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", show_default=False,
                                               help="Document to write, with the values found and `fit.result`. "
                                                    f"Parameters of more than {IN_PLACE} elements go into a "
                                                    "safetensors file beside it.")] = None,
    history_file: Annotated[str | None, _one("--history", "OUT", "Write the steps, or the epochs of training, "
                                                                 "to a .parquet, .arrow or .csv file.")] = None,
    plot_file: Annotated[str | None, _one("--plot", "OUT", "Draw the fit: .svg, .png, .pdf or .html.")] = None,
    checkpoint: Annotated[str | None, _one("--checkpoint", "FOLDER", "Folder that keeps what is computed. The same "
                                                                     "command continues from it and gives the "
                                                                     "same bits.")] = None,
    cluster: Annotated[str | None, _one("--cluster", "WHERE", "Compute on the workers of a cluster of Dask, as run "
                                                              "--cluster; for all methods but those by minibatches.")
                       ] = None,
    json: Json = False,
    limit: Limit,
    gates: Gates = None,
) -> None:
    """Find the parameters of a circuit from data.

    What is left out is taken from the key `fit` of the document. The exit status is 0 at a minimum or at the end of a
    training, 1 if the fit ended elsewhere, 130 after Ctrl-C.

    Example: circuitflow fit circuits/decay.json
    """
    numbers = {"tolerance": tolerance, "max_evaluations": max_evaluations, "seed": seed, "starts": starts,
               "batch_size": batch_size, "epochs": epochs, "absolute_sigma": absolute_sigma or None,
               "likelihood": likelihood or None}
    settings = Settings(columns=columns, residuals=residuals, sigma=sigma, sigma_column=sigma_column, loss=loss,
                        reduction=reduction, constraints=constraint, method=method, method_options=option, least=least,
                        most=most, freeze=freeze, free=free, start=start, schedule=schedule,
                        schedule_options=schedule_option, validation=validation, numbers=numbers)
    form = None if plot_file is None else form_of(plot_file, PLOTS, "a picture", "svg")
    if history_file is not None:
        form_of_table(history_file)
    circuit = settings.apply(load_circuit(file, limit, gates))
    _keep_apart([output, history_file, plot_file], _sources(circuit, file, data, [*start, *least, *most], gates))
    _refuse_other_folder(circuit, output)
    fit = circuit.document.fit
    with FitProgress(None if fit is None else fit.max_evaluations) as watch:
        try:
            with client_of(cluster) as client:
                result = cf.fit(circuit, data or None, engine=engine, device=device, callback=watch,
                                on_nan=on_nan, checkpoint=checkpoint, client=client)  # type: ignore[arg-type]
        except Interruption:
            _write_history(history_file, watch.steps, watch.records, circuit)
            _say_how_to_go_on(watch, circuit, checkpoint)
            raise typer.Exit(130) from None
    if output is not None:
        _write_document(result, data, output)
    _write_history(history_file, watch.steps, result.history, circuit)
    if plot_file is not None and form is not None:
        emit(plot_file, plot(result, watch.steps, form))
    if json:
        print_json({"converged": result.converged, **result_entry(result)})
    elif output != "-":
        for line in result.summary().split("\n"):
            print_line(line, "yellow" if line.startswith("warning: ") else "")
    if not result.converged:
        raise typer.Exit(1)


def _sources(circuit: cf.Circuit, file: str, data: Sequence[str] | None, assignments: list[str],
             gates: str | None) -> list[str]:
    """The files that a fit reads."""
    fit, folder = circuit.document.fit, circuit.definition.source.folder
    named = [] if fit is None or folder is None else [
        str(folder / table.file) for table in (fit.data, fit.validation) if isinstance(table, DataFile)]
    return [file, *circuit.files, *named, *(part.path for part in find_parts(data or ()) if part.local),
            *assigned_values(assignments), *gate_files(gates)]


def _keep_apart(outputs: list[str | None], sources: list[str]) -> None:
    """Refuse outputs that are inputs, or one another.

    Raises:
        InputError: two are the same file.
    """
    files = [output for output in outputs if output is not None]
    for i, output in enumerate(files):
        if output != "-":
            apart(output, sources)
        if output in files[:i]:
            raise InputError(f"'{printable(output, 60)}' stands for two outputs; give each a file of its own")


def _refuse_other_folder(circuit: cf.Circuit, output: str | None) -> None:
    folder, fit = circuit.definition.source.folder or Path(), circuit.document.fit
    reads = bool(circuit.files) or (fit is not None and isinstance(fit.validation, DataFile))
    if output not in (None, "-") and not is_stream(output) and reads and (
            _folder(output) != Path(os.path.realpath(folder))):
        raise InputError(f"the document reads files beside '{printable(str(folder), 200)}'; write it to that folder")


def _folder(path: str) -> Path:
    return Path(os.path.dirname(os.path.realpath(path)))


def _write_document(result: FitResult, data: Sequence[str] | None, output: str) -> None:
    """Write the tensor file, if there is one, and then the document that names it."""
    is_file = output != "-" and not is_stream(output)
    folder = _folder(output) if is_file else result.model.definition.source.folder
    table = _data_file(result, data, folder)
    fitted = fitted_document(result, table, Path(output).stem if is_file else "fitted")
    if fitted.tensors is not None:
        if not is_file or folder is None:
            raise InputError(f"parameters of more than {IN_PLACE} elements need a tensor file beside the document; "
                             "write it to a file by -o FILE")
        write(folder / fitted.tensor_file, fitted.tensors)
    emit_document(fitted.document, output)
    if table is None and result.data.columns:
        sys.stdout.flush()
        reason = ("the document names one file of data, and these may be several" if data and _is_several(data) else
                  "the data lie neither beside nor below the document, which does not name them")
        print(f"note: {reason}; give them again when you fit it again", file=sys.stderr)


def _data_file(result: FitResult, data: Sequence[str] | None, folder: Path | None) -> DataFile | None:
    """The file of the data by its path from a folder, with its digest; None if it lies elsewhere."""
    fit, source = result.model.document.fit, result.model.definition.source.folder
    if data:
        if _is_several(data):
            return None
        path = Path(os.path.realpath(data[0]))
    elif fit is not None and fit.data is not None and source is not None:
        with beside(source, fit.data.file) as found:
            path = found.path
    else:
        return None
    if folder is None or not path.is_relative_to(folder.resolve()):
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return DataFile(file=path.relative_to(folder.resolve()).as_posix(), sha256=digest)


def _is_several(data: Sequence[str]) -> bool:
    return len(data) > 1 or not os.path.isfile(data[0])


def _write_history(output: str | None, steps: Sequence[Step], records: Sequence[Mapping[str, float]],
                   circuit: cf.Circuit) -> None:
    if output is None:
        return
    columns = history_of_training(records) if records else history(steps, _parameters(circuit).names)
    kinds = {name: (str(column.dtype), ()) for name, column in columns.items()}
    with table_writer(output, form_of_table(output), kinds) as writing:
        writing(list(columns.values()))


def _parameters(circuit: cf.Circuit) -> Parameters:
    fit = circuit.document.fit
    return Parameters.of(circuit, [text for text in (fit and fit.residuals, fit and fit.loss) if text])


def _say_how_to_go_on(watch: FitProgress, circuit: cf.Circuit, checkpoint: str | None) -> None:
    """Say where the fit is, and how it goes on from there."""
    last = watch.last
    if isinstance(last, Progress):
        print(f"interrupted after step {last.step}, in epoch {last.epoch + 1}: loss {last.loss:.8g}; no document is "
              "written", file=sys.stderr)
    elif last is not None:
        print(f"interrupted after step {last.number}: objective {last.objective:.8g}; no document is written",
              file=sys.stderr)
    if checkpoint is not None:
        print("to go on from there, give the same command", file=sys.stderr)
    elif isinstance(last, Step) and (parameters := _parameters(circuit)).size <= IN_PLACE:
        starts = " ".join(f"--start '{name}={dumps_value(value.tolist())}'" for name, value in
                          parameters.values(last.x).items())
        print(f"to go on from there, give the same command with {starts}", file=sys.stderr)
