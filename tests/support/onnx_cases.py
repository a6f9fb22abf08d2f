"""The tests of operators that come with the package onnx, and what becomes of one."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

import circuitflow as cf
from circuitflow.onnx.importing import Import, import_model
from circuitflow.onnx.reading import model_of

RTOL, ATOL = 1e-3, 1e-7
"""The tolerances of ONNX's own runner."""


class Outcome(NamedTuple):
    """What becomes of a case: "passed", "rounded", "refused" or "wrong", with the reason.

    A case in bfloat16 is "rounded" that agrees to the digits of that type alone.
    """

    status: str
    reason: str = ""


@functools.cache
def cases() -> Sequence[Any]:
    """All cases of single operators, and of the bodies of operators."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


def imported(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> tuple[Import, dict[str, Any]]:
    """The import of a model and the inputs that are left, where those that sizes depend on are constants.

    They are those that a refusal names, or else all of integers and all of a few elements.
    """
    plain = model_of(model.SerializeToString(), "model.onnx")
    arrays = {name: x for name, x in inputs.items() if not isinstance(x, list | type(None))}
    known = dict[str, Any]()
    while True:
        dims = {size or f"{port.name}_{axis}": np.shape(inputs[port.name])[axis] for port in plain.graph.inputs
                if port.name not in known for axis, size in enumerate(port.shape or ()) if not isinstance(size, int)}
        try:
            return import_model(plain, dims=dims, values=known), {
                name: x for name, x in inputs.items() if name not in known}
        except cf.DocumentError as error:
            if "needs to know" not in str(error):
                raise
            more = {name: x for name, x in arrays.items() if f"input '{name}'" in str(error)} or {
                name: x for name, x in arrays.items() if np.asarray(x).dtype.kind in "iub" or np.size(x) < 10}
            if known.keys() >= more.keys():
                raise
            known |= more


def _array(value: Any) -> Any:
    """An array, also of a tensor as the package has it."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _widened(value: Any) -> Any:
    """An array, of bfloat16 as float32."""
    is_short = isinstance(value, np.ndarray) and value.dtype.name == "bfloat16"
    return value.astype(np.float32) if is_short else value


@functools.cache
def outcomes() -> Mapping[str, Outcome]:
    """What becomes of every case, by its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: outcome(case) for case in cases()}


def _inverse_transform(x: Any, *_: Any) -> Any:
    y = np.fft.ifft(np.asarray(x[..., 0], float) + 1j * x[..., 1], axis=1)
    return [np.stack([y.real, y.imag], axis=-1).astype(np.float32)]


INSTEAD = dict.fromkeys(("test_dft_inverse", "test_dft_inverse_opset19"), _inverse_transform)
"""Of cases whose own values were rounded to float32 on the way: they have up to 2e-7 where the exact value is 0."""


def outcome(case: Any) -> Outcome:
    """Import a case, run it on its data, and compare."""
    status = "passed"
    for data in case.data_sets:
        inputs, expected = data
        expected = INSTEAD[case.name](*inputs) if case.name in INSTEAD else expected
        names = [port.name for port in case.model.graph.input]
        by_name = dict(zip(names, map(_widened, map(_array, inputs)), strict=False))
        try:
            result, rest = imported(case.model, by_name)
            circuit = result.circuit
            ids = {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}
            values = cf.Executor(circuit).forward({ids[name]: x for name, x in rest.items()}).outputs
        except cf.CircuitflowError as error:
            return Outcome("refused", str(error).splitlines()[0].removeprefix("model.onnx: "))
        except Exception as error:
            return Outcome("wrong", f"{type(error).__name__}: {error}")
        outputs = list(values.values())
        by_label = {circuit.nodes[name].label or name: value for name, value in values.items() if name in circuit.nodes}
        for i, (port, want) in enumerate(zip(case.model.graph.output, expected, strict=True)):
            got = np.asarray(by_label.get(port.name, outputs[i] if i < len(outputs) else None))
            exact = np.asarray(_array(want))
            want = _widened(exact)
            if got.dtype != want.dtype or got.shape != want.shape:
                return Outcome("wrong", f"{port.name}: {got.dtype} {got.shape} is not {want.dtype} {want.shape}")
            if exact.dtype != want.dtype:
                got = got.astype(exact.dtype)
                if not np.array_equal(got, want) and np.allclose(got.astype(float), want, rtol=2**-6, atol=2**-8):
                    status = "rounded"
                    continue
            if not np.allclose(got.astype(float), want.astype(float), rtol=getattr(case, "rtol", RTOL) or RTOL,
                               atol=getattr(case, "atol", ATOL) or ATOL, equal_nan=True):
                return Outcome("wrong", f"{port.name}: {got.ravel()[:4]} is not {want.ravel()[:4]}")
    return Outcome(status)
