"""Circuits as C: they compile without warnings, run clean under sanitizers, and give the interpreter's numbers."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.export.c.exporting import export
from circuitflow.export.c.names import CNames, identifier
from circuitflow.gates import GATES
from support.c_programs import call, compile_c, needs_gcc, programs, shared
from support.commands import circuitflow  # noqa: F401
from support.documents import circuit
from support.edge_points import GIVEN, POINTS, as_array
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES, Example
from support.hostile import HOSTILE, HOSTILE_NAMES
from support.slices import halves
from support.suite import FILES, ROOT

pytestmark = needs_gcc

NOT_IN_C = {"det", "cofactor", "slogdet", "inv", "solve", "cholesky", "eigh", "qr", "svd", "lgamma", "polygamma"}
"""Gates of which a value or a gradient comes to a function that C has no form for."""

SANITIZERS = ["-O1", "-g0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def agreed(subjects, tmp_path, *flags, **options):
    """Names of the subjects that were exported, after all their functions gave the interpreter's numbers; the rest."""
    exports, refused = {}, {}
    for name, subject in subjects.items():
        try:
            exports[name] = export(subject, name=f"m{len(exports)}", tests=True, **options)
        except cf.InputError as error:
            refused[name] = str(error)
    wrong = programs(tmp_path, list(exports.values()), *flags)
    assert {name: wrong[i] for i, name in enumerate(exports) if i in wrong} == {}
    return list(exports), refused


CASES = {f"{i} {example}": example for i, example in enumerate(EXAMPLES)}


@halves([example.gate for example in EXAMPLES], ["float64"])
def test_every_gate_and_its_gradient(half, tmp_path):
    """Of the examples of a gate, the first and the last in the default run."""
    gates = {gate: [name for name, example in CASES.items() if example.gate == gate] for gate, _ in half}
    names = {name for cases in gates.values() for name in (cases[0], cases[-1])} if len(half) < len(EXAMPLES) / 2 else CASES
    done, refused = agreed({name: circuit_of(CASES[name]) for name in CASES if name in names}, tmp_path, *SANITIZERS)
    assert {CASES[name].gate for name in refused} <= NOT_IN_C
    for reason in refused.values():
        assert re.match(r"node '[\w/]+': \w+ comes to \w+.*; leave it out by --of and --wrt$", reason)
    assert len(done) > len(half) // 2


def test_the_conventions_at_ties_and_edges_are_kept(tmp_path):
    subjects = {}
    for i, (gate, operands, *_) in enumerate(POINTS):
        if gate not in NOT_IN_C:
            subjects[f"{i} {gate} {operands}"] = circuit_of(Example(gate, tuple(map(as_array, operands)), GIVEN.get(gate, {})))
    done, refused = agreed(subjects, tmp_path, "-O1")
    assert (len(done), refused) == (len(subjects), {})
