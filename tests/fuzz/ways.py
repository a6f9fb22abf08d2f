"""Every way of running a circuit, and what each may refuse; a case goes all ways and its answers are compared with the
interpreter's."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import circuitflow as cf
from cases import Call, Case
from circuitflow.engines.thresholds import Thresholds
from circuitflow.export.c.exporting import export
from circuitflow.export.javascript.exporting import export as export_javascript
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.passes import forward_pass
from circuitflow.onnx.exporting import to_onnx
from circuitflow.transforms.derivatives import reverse
from moving import moved
from rounding import Reference, Verdict, compare, interpret, label
from support.c_programs import call, shared
from support.js_programs import node

Ask = Callable[[Call], Mapping[str, Any]]


class Skipped(Exception):  # noqa: N818
    """A way does not take this case, as its documentation says."""


# Executors and calls
# -------------------------------------------------------------------------------------------------------

LOW = Thresholds(selected_size=1, block_bytes=1, block_rows=2, blocks=2, column_rows=2, tape_bytes=1)
"""Thresholds that nearly everything is above."""


def executor(case: Case, circuit: cf.Circuit) -> cf.Executor:
    """An executor with the thresholds of the case."""
    return cf.Executor(circuit, thresholds=LOW if case.low else Thresholds())


def unpacked(case: Case, plan: Any, found: Any) -> dict[str, Any]:
    """The arrays of an answer, by kind and name."""
    value, gradients = found
    values = value if len(plan.of) > 1 else {next(iter(plan.of)): value}
    return {**{label("value", text): values[text] for text in plan.of},
            **{label("gradient", name): gradients[name] for name in plan.wrt}}


@contextlib.contextmanager
def without_numba() -> Iterator[None]:
    """As if the extra `fast` were not installed: compiling takes seconds, so few cases have it."""
    there = sys.modules.get("numba")
    sys.modules["numba"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if there is None:
            del sys.modules["numba"]
        else:
            sys.modules["numba"] = there


# The ways
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way of getting an answer.

    Attributes:
        begin: makes a function of calls.
        share: of how many cases it is tried; slow ways are tried on few.
        refusals: what it may refuse, by its documentation.
        flushes: whether its arithmetic takes subnormal numbers for 0.
        elsewhere: whether a difference counts only where there is one beside these numbers too: conventions at kinks
        differ.
        over_rows: whether one call takes all calls of the case as rows.
        lenient: whether it may answer a question that the interpreter refuses; it must not answer where a gate refuses
        its operands.
    """

    begin: Callable[[Case, cf.Circuit], Ask]
    share: float = 1.0
    refusals: Sequence[str] = ()
    flushes: bool = False
    elsewhere: bool = False
    over_rows: bool = False
    lenient: bool = False


SIZES = r"known size|which none can declare"
NOTHING = r"there is nothing to differentiate by"
OWN = r"needs the built-in gate .* and the table of gates has a row of its own of that name"
NOT_SCALAR = r"has values that are not float64 scalars|cannot be applied row by row|the tape cannot take"


def compiled(engine: str) -> Callable[[Case, cf.Circuit], Ask]:
    def begin(case: Case, circuit: cf.Circuit) -> Ask:
        there = executor(case, circuit)
        plan, function = there.plan(case.of, case.wrt), there.compile(case.of, case.wrt, engine=engine)

        def ask(given: Call) -> Mapping[str, Any]:
            return unpacked(case, plan, function(given_inputs(given.inputs), upstream=given_inputs(given.upstream)))

        return ask

    return begin


_ARGUMENTS: list[tuple[Any, Any, str]] = []
"""Arrays that the way being gone was given, what they held, and what they are called."""


def given_inputs(part: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, in their layouts; they are looked at again afterwards."""
    arguments = {name: given.give() for name, given in part.items()}
    _ARGUMENTS.extend((argument, part[name].values, name) for name, argument in arguments.items()
                      if isinstance(argument, np.ndarray))
    return arguments


def slow(begin: Callable[[Case, cf.Circuit], Ask]) -> Callable[[Case, cf.Circuit], Ask]:
    """The way where numba is not installed."""

    def without(case: Case, circuit: cf.Circuit) -> Ask:
        with without_numba():
            function = begin(case, circuit)

        def ask(given: Any) -> Mapping[str, Any]:
            with without_numba():
                return function(given)

        return ask

    return without


def cached(policy: str) -> Callable[[Case, cf.Circuit], Ask]:
    def begin(case: Case, circuit: cf.Circuit) -> Ask:
        there = executor(case, circuit)
        if not there.plan(case.of, case.wrt).wrt:
            raise Skipped
        return lambda given: interpret(case, given, there, cache=policy)

    return begin


def over_rows(engine: str) -> Callable[[Case, cf.Circuit], Ask]:
    """`vmap`: the calls are rows, repeated up to the number of rows of the case."""

    def begin(case: Case, circuit: cf.Circuit) -> Ask:
        there = executor(case, circuit)
        plan, function = there.plan(case.of, case.wrt), there.vmap(case.of, case.wrt, engine=engine)

        def ask(calls: Any) -> Mapping[str, Any]:
            inputs, upstream = (columns(case, [getattr(one, key) for one in calls]) for key in ("inputs", "upstream"))
            if not any(len(column) for column in (inputs, upstream)):
                raise Skipped
            return unpacked(case, plan, function(inputs, upstream=upstream))

        return ask

    return begin


def columns(case: Case, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A column of every argument; of one that is the same in every call just that.

    Raises:
        Skipped: the calls have other shapes or other arguments, so they are no rows.
    """
    made = {}
    if any(part.keys() != parts[0].keys() for part in parts):
        raise Skipped
    for name in parts[0]:
        if any(part[name].values.shape != parts[0][name].values.shape for part in parts):
            raise Skipped
        values = [part[name].values for part in parts]
        if all(part[name] is parts[0][name] for part in parts):
            made[name] = values[0][()]
        else:
            made[name] = np.stack([values[i % len(values)] for i in range(case.rows)])
    if parts and not any(np.ndim(value) > part.values.ndim for value,
                         part in zip(made.values(), parts[0].values(), strict=True)) and parts[0]:
        name = next(iter(made))
        made[name] = np.stack([made[name]] * case.rows)
    return made


def gradient_document(case: Case, circuit: cf.Circuit, *, written: bool = False) -> Ask:
    """The gradient as a document, run forward by the interpreter; written and read again first, if asked for."""
    plan = cf.Executor(circuit).plan(case.of, case.wrt)
    if not plan.wrt:
        raise Skipped
    made = reverse(circuit, case.of, case.wrt, values=True)
    there = cf.Executor(cf.loads(cf.dumps(made.circuit), gates=case.gates()) if written else made.circuit)
    references = {**{label("value", text): made.values[text] for text in plan.of},
                  **{label("gradient", name): made.gradients[name] for name in plan.wrt}}

    def ask(given: Call) -> Mapping[str, Any]:
        inputs = {made.sources.get(name, name): value.values for name, value in given.inputs.items()
                  if name in made.sources}
        inputs |= {made.upstream[text]: value.values for text, value in given.upstream.items() if text in made.upstream}
        # the sweep begins with 1 on a scalar output without upstream gradient
        if given.upstream.keys() - made.upstream.keys():
            raise Skipped
        found = there.forward(inputs, of=list(dict.fromkeys(references.values()))).outputs
        return {key: found[reference] for key, reference in references.items()}

    return ask


def exported(case: Case, circuit: cf.Circuit) -> Ask:
    """The exported Python file, executed; it is for the shapes of the first call."""
    plan = cf.Executor(circuit).plan(case.of, case.wrt)
    first = case.calls[0]
    text = cf.to_python(circuit, case.of, case.wrt, inputs={name: given.values for name, given in first.inputs.items()})
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "exported", "exec"), names)
    function = names["value_and_grad" if plan.wrt else "value"]
    parameters = list(inspect.signature(function).parameters)
    upstream = reverse(circuit, case.of, case.wrt, values=True).upstream if first.upstream else {}

    def parameter(name: str) -> str:
        same = [p for p in parameters if p == name] or [p for p in parameters
                                                        if re.fullmatch(rf"{re.escape(name)}_\d+", p)]
        if len(same) != 1:
            raise Skipped
        return same[0]

    def ask(given: Call) -> Mapping[str, Any]:
        if {name: x.values.shape for name, x in given.inputs.items()} != {name: x.values.shape for name,
                                                                          x in first.inputs.items()}:
            raise Skipped
        if given.upstream.keys() - upstream.keys():
            raise Skipped
        arguments = {parameter(name): value.values for name, value in given.inputs.items()}
        arguments |= {parameter(upstream[text]): value.values for text, value in given.upstream.items()}
        arguments = {name: value.item() if value.ndim == 0 else value.copy() for name, value in arguments.items()}
        required = {p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty}
        if not required <= arguments.keys():
            raise Skipped
        try:
            with np.errstate(all="ignore"):
                found = function(**arguments)
        except np.linalg.LinAlgError as error:  # what NumPy refuses, as the gate does
            raise cf.GateError(str(error)) from None
        return unpacked(case, plan, found if plan.wrt else (found, {}))

    return ask


def in_a_file(case: Case, circuit: cf.Circuit, write: Callable[..., Any],
              run: Callable[[Any, Mapping[str, Any]], Sequence[Mapping[str, Any]]]) -> Ask:
    """An exported file for the shapes of the first call.

    `write` exports it; `run` calls its last function with a number or array for each member, by key.
    """
    plan, first = cf.Executor(circuit).plan(case.of, case.wrt), case.calls[0]
    exported = write(circuit, case.of, case.wrt, inputs={name: x.values for name, x in first.inputs.items()},
                     upstream={name: x.values for name, x in first.upstream.items()} or None)
    members = {key: member for struct in exported.functions[-1].takes for key, member in struct.members.items()}
    keys = {member.reference: key for key, member in members.items()}
    if len(keys) < len(members):  # an input `df` beside the upstream gradient on f
        raise Skipped

    def ask(given: Call) -> Mapping[str, Any]:
        arguments = {key: member.default for key, member in members.items()}
        for part, sign in ((given.inputs, ""), (given.upstream, "d")):
            arguments |= {keys[sign + name]: x.values for name, x in part.items() if sign + name in keys}
        if given.upstream.keys() != first.upstream.keys():  # those of the first call are defaults of the file
            raise Skipped
        if any(x is None or np.shape(x) != members[key].shape for key, x in arguments.items()):
            raise Skipped
        values, *gradients = run(exported, arguments)
        return unpacked(case, plan, (values if len(plan.of) > 1 else next(iter(values.values())),
                                     gradients[0] if plan.wrt else {}))

    return ask


def in_c(case: Case, circuit: cf.Circuit) -> Ask:
    """The exported C file, compiled with sanitizers of undefined behaviour."""
    if not shutil.which("gcc"):
        raise Skipped
    libraries = {}

    def run(exported: Any, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if not libraries:
            with tempfile.TemporaryDirectory() as folder:
                libraries[0] = shared(Path(folder), [exported], "-O0", "-fsanitize=undefined",
                                      "-fno-sanitize-recover=all", "-static-libubsan")
        function = exported.functions[-1]
        references = {key: member.reference for struct in function.takes for key, member in struct.members.items()}
        status, results = call(libraries[0], exported, function, {references[key]: x for key, x in arguments.items()})
        if status:
            raise cf.GateError(f"status {status}")
        return results

    return in_a_file(case, circuit, partial(export, name="case"), run)


def in_javascript(case: Case, circuit: cf.Circuit) -> Ask:
    """The exported module, run by Node."""
    if not shutil.which("node"):
        raise Skipped

    def run(exported: Any, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        function = exported.functions[-1]
        members = {key: member for struct in function.takes for key, member in struct.members.items()}
        if any(members[key].dtype.itemsize == 8 and members[key].dtype.kind in "iu" and np.any(np.abs(
                np.asarray(x, float)) > 2**53) for key, x in arguments.items()):
            raise Skipped
        with tempfile.TemporaryDirectory() as folder:
            results, = node(Path(folder), [(exported, function, arguments)])
        if isinstance(results, str):
            raise cf.GateError(results)
        return [{key: np.array([float(x) for x in numbers[member.name]]).astype(member.dtype).reshape(member.shape)
                 for key, member in struct.members.items()}
                for struct, numbers in zip(function.gives, results, strict=True)]

    return in_a_file(case, circuit, export_javascript, run)


def in_onnx(case: Case, circuit: cf.Circuit) -> Ask:
    """The exported model, run by ONNX Runtime, which refuses no operands at a run."""
    import onnxruntime

    plan = cf.Executor(circuit).plan(case.of, case.wrt)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1

    def ask(given: Call) -> Mapping[str, Any]:
        content = to_onnx(circuit, case.of, case.wrt, inputs={name: x.values for name, x in given.inputs.items()},
                          upstream={name: x.values for name, x in given.upstream.items()} or None)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        if any(port.name not in {x.name for x in session.get_overridable_initializers()}
               for port in session.get_inputs()):
            raise Skipped
        answers = iter(session.run(None, {}))
        return {label(kind, text): x for (kind, text), x in zip(
            [*(("value", text) for text in plan.of), *(("gradient", name) for name in plan.wrt)], answers, strict=True)}

    return ask


def in_jax(case: Case, circuit: cf.Circuit) -> Ask:
    """Forward rules under JAX, differentiated by JAX.

    Left out on purpose: inner nodes as `wrt`, which JAX has no name for; `stop_gradient`, which is the identity for
    JAX; calls in which a
    value is infinite, NaN, or so large or small that its powers leave the range: what rules send there is a convention.
    At kinks and singular points conventions differ (docs/conventions.md), and
    a formula may have a kink where its function has none: there nothing differs once all numbers have moved a little.
    """
    import jax
    import jax.numpy as jnp

    there = cf.Executor(circuit)
    plan = there.plan(case.of, case.wrt)
    by = [name for name in plan.wrt if name in plan.sources]
    if not by or '"stop_gradient"' in json.dumps(case.document):
        raise Skipped

    class Namespace:
        """`jax.numpy`, with the conditions under which a rule refuses its operands put aside."""

        def __init__(self) -> None:
            self.checks: list[Any] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(jnp, name)

    def ask(given: Call) -> Mapping[str, Any]:
        plain = there.forward({name: x.values for name, x in given.inputs.items()}, of=case.of).values.values()
        if not all(map(ordinary, (*plain, *(x.values for x in given.upstream.values())))):
            raise Skipped
        arrays = {name: given.inputs[name].values if name in given.inputs else circuit.values[name]
                  for name in plan.sources}
        with jax.enable_x64(True):
            arrays = {name: jnp.asarray(x) for name, x in arrays.items()}

            def function(*xs: Any) -> list[Any]:
                values = forward_pass(plan, Bound(Namespace(), {**arrays, **dict(zip(by, xs, strict=True))}, {}))
                return [values[slot] for slot in plan.of.values()]

            values, vjp = jax.vjp(function, *(arrays[name] for name in by))
            seeds = [jnp.asarray(given.upstream[text].values) if text in given.upstream
                     else jnp.asarray(circuit.upstream[text])
                     if text in circuit.upstream else jnp.ones_like(value) if jnp.issubdtype(value.dtype, jnp.floating)
                     else
                     np.zeros(value.shape, jax.dtypes.float0) for text, value in zip(plan.of, values, strict=True)]
            gradients = vjp(seeds)
            return {**{label("value", text): np.asarray(x) for text, x in zip(plan.of, values, strict=True)},
                    **{label("gradient", name): np.asarray(x) for name, x in zip(by, gradients, strict=True)}}

    return ask


def ordinary(x: Any) -> bool:
    """Whether all numbers are finite, and 0 or far from both ends of the range."""
    array = np.asarray(x)
    if array.dtype.kind != "f":
        return True
    size = np.abs(array[array != 0])
    far = 1e100 if array.dtype == np.float64 else 1e12
    return bool(np.all(np.isfinite(size) & (size < far) & (size > 1 / far)))


def table(case: Case, circuit: cf.Circuit) -> Ask:
    """`circuitflow run --table` over a CSV file."""
    from circuitflow.cli import main

    plan = cf.Executor(circuit).plan(case.of, case.wrt)

    def ask(calls: Any) -> Mapping[str, Any]:
        inputs = columns(case, [one.inputs for one in calls])
        if any(one.upstream for one in calls) or not inputs or not any(np.ndim(x) == 1
                                                                       for x in inputs.values()) or case.own:
            raise Skipped
        if any(not np.all(np.isfinite(x)) or np.ndim(x) > 1 or x.dtype != np.float64 for x in inputs.values()):
            raise Skipped
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "circuit.json").write_text(json.dumps(case.document))
            rows = [[repr(float(x)) for x in row]
                    for row in zip(*(np.broadcast_to(x, case.rows) for x in inputs.values()), strict=True)]
            with (folder / "in.csv").open("w", newline="") as file:
                csv.writer(file).writerows([list(inputs), *rows])
            arguments = ["run", str(folder / "circuit.json"), "--table", str(folder / "in.csv"), "--output",
                         str(folder / "out.csv"), "--defaults"]
            arguments += [part for text in case.of or () for part in ("--of", text)]
            arguments += ["--forward"] if not plan.wrt else [part for text in case.wrt or ()
                                                             for part in ("--wrt", text)]
            said = io.TextIOWrapper(io.BytesIO())
            before, sys.argv = sys.argv, ["circuitflow", *arguments]
            try:
                with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                    main()
            except SystemExit as end:
                if end.code:
                    said.seek(0)
                    raise cf.InputError(said.read()) from None
            finally:
                sys.argv = before
            with (folder / "out.csv").open(newline="") as file:
                head, *lines = csv.reader(file)
        found = {column: np.array([cell(line[i]) for line in lines]) for i, column in enumerate(head)}
        return {**{label("value", text): found[text] for text in plan.of},
                **{label("gradient", name): found[f"d{name}"] for name in plan.wrt}}

    return ask


def cell(text: str) -> Any:
    return text == "true" if text in ("true", "false") else float(text or "nan")


WAYS: dict[str, Way] = {
    "auto": Way(slow(compiled("auto"))),
    "interpreter": Way(compiled("interpreter"), share=0.5),
    "staged": Way(slow(compiled("staged")), refusals=(SIZES, OWN,)),
    "tape": Way(slow(compiled("tape")), refusals=(NOT_SCALAR,)),
    "tape, compiled": Way(compiled("tape"), share=0.02, refusals=(NOT_SCALAR,)),
    "jax": Way(compiled("jax"), share=0.03, refusals=(r"goes by a value", r"known size"), flushes=True),
    "native": Way(compiled("native"), share=0.05, refusals=(SIZES, OWN, r"choose another engine")),
    "cache needed": Way(cached("needed"), share=0.5),
    "cache recompute": Way(cached("recompute"), share=0.5),
    "vmap": Way(slow(over_rows("auto")), refusals=(NOT_SCALAR, SIZES, OWN), over_rows=True),
    "vmap staged": Way(slow(over_rows("staged")), share=0.3, refusals=(NOT_SCALAR, SIZES, OWN), over_rows=True),
    "vmap, compiled": Way(over_rows("staged"), share=0.01, refusals=(NOT_SCALAR, SIZES, OWN), over_rows=True),
    "vmap tape, compiled": Way(over_rows("tape"), share=0.02, refusals=(NOT_SCALAR, SIZES), over_rows=True),
    "vmap jax": Way(over_rows("jax"), share=0.02, refusals=(r"goes by a value", r"known size"), flushes=True,
                    over_rows=True),
    "gradient document": Way(gradient_document, refusals=(SIZES, OWN, NOTHING), lenient=True),
    "gradient document, written": Way(partial(gradient_document, written=True), share=0.1,
                                      refusals=(SIZES, OWN, NOTHING), lenient=True),
    "export": Way(exported, share=0.5, refusals=(SIZES, OWN, r"is no line of Python", r"without a size", NOTHING),
                  lenient=True),
    "C": Way(in_c, share=0.05, refusals=(SIZES, NOTHING, OWN, r"comes to|has numbers of|which C does not have|"
                                         r"has no size|leave it out"), lenient=True),
    "JavaScript": Way(in_javascript, share=0.03, refusals=(
        SIZES, NOTHING, OWN, r"comes to|has numbers of|which JavaScript does not have|has no size|leave it out|"
                             r"does not hold"), lenient=True),
    "ONNX Runtime": Way(in_onnx, share=0.05, refusals=(SIZES, NOTHING, OWN, r"ONNX has no way to say"),
                        elsewhere=True, lenient=True),
    "table": Way(table, share=0.01, refusals=(NOT_SCALAR, r"is no scalar", r"upstream", r"would stand twice"),
                 over_rows=True),
    "differentiated by JAX": Way(in_jax, share=0.1, flushes=True, elsewhere=True, lenient=True),
}

JAX_IS_NAN = ("pow", "reduce_l2", "reduce_std", "sqrt")
"""Gates whose derivative by JAX is NaN at roots and powers of zero (docs/conventions.md)."""


# Comparison
# ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A difference.

    Attributes:
        way: of running.
        kind: "value", "error", "answer", "changed" or "input".
        sentence: what is wrong, for people.
        call: the number of the call.
    """

    way: str
    kind: str
    sentence: str
    call: int = 0


@dataclass
class Tally:
    """What was compared: arrays by way, those that only changed digits explain, refusals, and errors compared with
    errors."""

    compared: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        for name in vars(self):
            getattr(self, name).update(getattr(other, name))


def go(case: Case, names: Sequence[str], tally: Tally) -> list[Fault]:
    """Go these ways with a case; the first fault of each."""
    circuit = case.circuit()
    there = cf.Executor(circuit)
    try:
        references = [Reference(case, one, circuit, there) for one in case.calls]
    except Exception as error:  # the interpreter itself, from plain arrays
        return [Fault("reference", "error", f"{type(error).__name__}: {error}")]
    faults = []
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fault = _go(case, circuit, name, references, tally)
        if fault:
            faults.append(fault)
    return faults


def _multiplies_named(circuit: cf.Circuit) -> bool:
    """Whether the elements along a named axis are multiplied.

    Their gradient is written down in another order than for a size that is known, and what overflows or is infinite
    goes by
    the order.
    """
    return any(node.kind == "reduce_prod" and any(not isinstance(size, int) for edge in node.operands
                                                  for size in circuit.nodes[edge.source].types[edge.output].shape)
               for node in circuit.nodes.values())


def _without_explained_nan(name: str, case: Case, key: str, found: Any, expected: Any) -> Any:
    """A gradient with the expected numbers where its NaN is a convention of JAX."""
    kinds = JAX_IS_NAN if name == "differentiated by JAX" else ()
    document = json.dumps(case.document)
    explained = any(f'"gate": "{kind}"' in document for kind in kinds)
    if not explained or not key.startswith("gradient") or np.shape(found) != np.shape(
        expected) or found.dtype.kind != "f":
        return found
    return np.where(np.isnan(found), expected, found)


def _is_beside(case: Case, circuit: cf.Circuit, error: Exception) -> bool:
    """Whether a gate refuses its operands that no output needs: only the interpreter runs it, to differentiate by
    it."""
    plan = cf.Executor(circuit).plan(case.of, ())
    named = re.match(r"node '([^']*)'", str(error))
    return named is not None and named[1] not in {step.node.id for step in plan.steps}


def _go(case: Case, circuit: cf.Circuit, name: str, references: Sequence[Reference], tally: Tally) -> Fault | None:
    """One way: every call is compared, and at the end all results once more, which later calls must not change."""
    way = WAYS[name]
    held: list[tuple[int, str, np.ndarray[Any, Any], bytes]] = []
    _ARGUMENTS.clear()
    try:
        ask = way.begin(case, circuit)
    except Skipped:
        return None
    except Exception as error:
        return _error(name, way, error, references[0], 0, tally, beginning=True)
    calls = [(0, case.calls, _stacked(references, case.rows))] if way.over_rows else [
        (i, one, [reference]) for i, (one, reference) in enumerate(zip(case.calls, references, strict=True))]
    for i, one, expected in calls:
        if way.lenient and any(isinstance(reference.error, cf.InputError) for reference in expected):
            continue
        try:
            found = ask(one)
        except Skipped:
            continue
        except Exception as error:
            if fault := _error(name, way, error, next((r for r in expected if r.error), expected[0]), i, tally):
                return fault
            continue
        if any(reference.error for reference in expected):
            error = next(reference.error for reference in expected if reference.error)
            if _is_beside(case, circuit, error) or way.elsewhere:  # a library of its own refuses what it does
                continue
            return Fault(name, "answer", f"an answer where the interpreter says: {error}", i)
        for row, reference in enumerate(expected):
            for key in reference.answer:
                if key not in found:  # JAX has no name for it
                    continue
                array = np.asarray(found[key])
                if way.over_rows and (array.ndim == 0 or len(array) != case.rows):
                    return Fault(name, "value", f"{key} has shape {array.shape} for {case.rows} rows", i)
                verdict = compare(array[row] if way.over_rows else array, key, reference, flushes=way.flushes)
                if verdict.difference:
                    one = array[row] if way.over_rows else array
                    mended = _without_explained_nan(name, case, key, one, reference.answer[key])
                    if mended is not one:
                        verdict = Verdict(compare(mended, key, reference, flushes=way.flushes).difference,
                                          explained=True)
                is_finite = bool(np.all(np.isfinite(reference.answer[key])))
                if verdict.difference and not is_finite and (way.elsewhere or _multiplies_named(circuit)):
                    tally.explained[name] += 1
                    continue
                if verdict.difference and way.elsewhere and not _differs_elsewhere(case, i, name, key):
                    verdict = Verdict(explained=True)
                tally.compared[name] += 1
                tally.explained[name] += verdict.explained
                if verdict.difference:
                    return Fault(name, "value",
                                 f"{key}: {verdict.difference}" + (f" in row {row}" if way.over_rows else ""), i)
        held += [(i, key, x, x.tobytes()) for key, x in found.items() if isinstance(x, np.ndarray)]
    for i, key, array, before in held:
        tally.held[name] += 1
        if array.tobytes() != before:
            return Fault(name, "changed", f"{key} of call {i} was changed by a later call", i)
    for argument, values, key in _ARGUMENTS:
        if not np.array_equal(argument, values, equal_nan=values.dtype.kind == "f"):
            return Fault(name, "input", f"the argument '{key}' was changed")
    return None


def _differs_elsewhere(case: Case, number: int, name: str, key: str) -> bool:
    """Whether one array differs for numbers beside these too, wherever both answer."""
    for seed in range(4):
        beside = moved(case, number, seed)
        circuit = beside.circuit()
        reference = Reference(beside, beside.calls[0], circuit, cf.Executor(circuit))
        with contextlib.suppress(Skipped):
            if reference.error is None and compare(WAYS[name].begin(beside, circuit)(beside.calls[0])[key], key,
                                                   reference, flushes=True).difference is None:
                return False
    return True


def _stacked(references: Sequence[Reference], rows: int) -> list[Reference]:
    """The references of rows: not all of very many."""
    return [references[row % len(references)] for row in range(min(rows, 2 * len(references)))]


def _error(name: str, way: Way, error: Exception, reference: Reference, number: int, tally: Tally, *,
           beginning: bool = False) -> Fault | None:
    """Whether an error is right: the interpreter has one too, or the way is documented to refuse this."""
    if isinstance(error, cf.MissingExtraError):
        return None
    if not isinstance(error, cf.CircuitflowError):
        return Fault(name, "error", f"{type(error).__name__}: {error}", number)
    if any(re.search(pattern, str(error)) for pattern in way.refusals):
        tally.refused[name] += 1
        return None
    if reference.error is None:
        return Fault(name, "error", f"{type(error).__name__}: {error}", number)
    tally.errors[name] += 1
    if str(error) != str(reference.error):
        tally.messages[name] += 1
    return None
