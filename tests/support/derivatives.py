"""Gradient documents, compared with what the executor computes."""

from __future__ import annotations

import json

import jsonschema
import numpy as np

import circuitflow as cf
from support.suite import ROOT

SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas" / "circuit.schema.json").read_text()))


def values(c: cf.Circuit, inputs=None) -> dict:
    return dict(cf.Executor(c).forward(inputs).outputs)


def agrees(c: cf.Circuit, inputs=None, **asked) -> cf.Circuit:
    """The gradient document of a circuit, after it was found to be what the executor computes."""
    gradient = cf.gradient(c, **asked)
    result = cf.Executor(c).run(inputs, **asked)
    found = values(gradient, inputs)
    plan = cf.Executor(c).plan(asked.get("of"), asked.get("wrt"))
    assert len(found) == len(plan.wrt)
    for name, value in zip(plan.wrt, found.values(), strict=True):
        np.testing.assert_allclose(value, result.gradients[name], rtol=1e-13, atol=1e-15)
        assert np.asarray(value).dtype == np.asarray(result.gradients[name]).dtype
    SCHEMA.validate(json.loads(cf.dumps(gradient)))
    assert cf.loads(cf.dumps(gradient), folder=gradient.definition.source.folder) == gradient
    assert all(gradient.nodes[name].kind in ("input", "parameter") for name in gradient.unused() if "/" not in name)
    return gradient
