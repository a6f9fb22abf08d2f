"""Properties of circuits made at random, with JAX as the oracle of values and gradients."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.document.rewriting import with_edges, with_inputs
from circuitflow.document.writing import dumps
from support.random_circuits import SETTINGS, documents, is_valid_or_has_faults
from support.slices import few


@SETTINGS
@given(documents())
def test_values_and_gradients_equal_jax(made):
    document, functions = made
    circuit = cf.loads(json.dumps(document))
    result = cf.Executor(circuit).run()
    names = list(circuit.values)

    def function(*sources):
        values = dict(zip(names, sources, strict=True))
        for name, (apply, operands) in functions.items():
            values[name] = apply(*(values[operand] for operand in operands))
        return values[document["outputs"][0]]

    output, vjp = jax.vjp(function, *(jnp.asarray(circuit.values[name]) for name in names))
    (value,) = result.outputs.values()
    (seed,) = circuit.upstream.values()
    np.testing.assert_allclose(value, output, rtol=1e-11, atol=1e-13)
    for name, theirs in zip(names, vjp(jnp.asarray(seed)), strict=True):
        if name in result.gradients:
            np.testing.assert_allclose(result.gradients[name], theirs, rtol=1e-9, atol=1e-11)


@SETTINGS
@given(documents())
def test_contributions_sum_to_gradients(made):
    result = cf.Executor(cf.loads(json.dumps(made[0]))).run()
    totals = {}
    for c in result.contributions:
        assert c.value.shape == result.values[c.source].shape
        totals[c.source] = totals.get(c.source, 0) + c.value
    for name, total in totals.items():
        if name not in result.outputs:
            np.testing.assert_allclose(total, result.gradients[name], rtol=1e-14)


@SETTINGS
@given(documents())
def test_documents_come_back_as_they_were(made):
    circuit = cf.loads(json.dumps(made[0]))
    text = cf.dumps(circuit)
    assert cf.loads(text) == circuit
    assert cf.dumps(cf.loads(text)) == text
    values = cf.Executor(circuit).forward().values
    for rewrite in (with_edges, with_inputs):
        again = cf.loads(dumps(rewrite(circuit.document)))
        for name, value in cf.Executor(again).forward().values.items():
            np.testing.assert_array_equal(value, values[name])


@settings(max_examples=few(300))
@given(documents(most=6), st.data())
def test_a_document_with_something_else_in_one_place_is_valid_or_has_faults(made, data):
    is_valid_or_has_faults(json.loads(json.dumps(made[0])), data)


@settings(max_examples=few(300))
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(
    ['{', '}', '[', ']', ',', ':', '"a"', '"', '1', '-', '1e999', 'NaN', 'null', ' ', '\n', '\\', '"\\ud800"', '//']),
                                                max_size=25).map("".join)))
def test_any_text_is_a_document_or_has_faults(text):
    try:
        cf.loads(text)
    except cf.DocumentError as error:
        assert all(line.isprintable() for line in str(error).splitlines())
