"""Exported modules of JavaScript, run by Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from circuitflow.engines.flat.vectors import scale_of, vectors
from circuitflow.export.javascript.file import NAMES
from support.suite import GUARD

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")

_HARNESS = """
import {readFileSync} from 'node:fs';
const cases = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const number = (x) => typeof x === 'string' ? Number(x) : x;
const array = (x, like) => like === null ? number(x) : new globalThis[like](x.map(number));
const plain = (x) => Array.from(typeof x === 'object' ? x : [x], (y) => Number.isFinite(Number(y)) && !Object.is(y, -0)
  ? Number(y) : Object.is(y, -0) ? '-0' : String(y));
const members = (struct) => Object.fromEntries(Object.entries(struct).map(([name, x]) => [name, plain(x)]));
const results = [];
for (const {module, calls} of cases) {
  const functions = await import(module);
  for (const {name, parameters, inputs, tangents, swapped} of calls) {
    const build = (struct) => Object.fromEntries(struct.map(([key, x, like]) => [key, array(x, like)]));
    const given = swapped ? [build(parameters), build(inputs)] : [build(inputs), build(parameters)];
    try {
      const result = functions[name](...tangents ? [build(tangents)] : [], ...given);
      results.push(Object.values(result).map(members));
    } catch (error) {
      results.push(String(error));
    }
  }
}
console.log(JSON.stringify(results));
"""


def _text(x):
    """A number as JSON has it, or its text."""
    return x if not isinstance(x, float) or (np.isfinite(x) and not (x == 0 and np.signbit(x))) else (
        "-0" if x == 0 else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(x)])


def node(folder: Path, calls):
    """Call functions of modules; gives the numbers of each call, or its error.

    `calls` has an export and the numbers of the members by key, for every call.
    """
    (folder / "harness.mjs").write_text(_HARNESS)
    cases, modules = [], {}
    for exported, function, arguments in calls:
        if id(exported) not in modules:
            path = folder / f"m{len(modules)}.mjs"
            path.write_text(exported.module)
            modules[id(exported)] = {"module": str(path), "calls": []}
            cases.append(modules[id(exported)])
        structs = {}
        for struct in function.takes:
            structs[struct.name] = [
                (member.name, [_text(x) for x in np.asarray(arguments[key]).reshape(-1).tolist()] if member.shape else
                 _text(np.asarray(arguments[key]).item()), _array_of(member)) for key, member in struct.members.items()]
        parameters = function.structs[0]
        modules[id(exported)]["calls"].append({
            "name": NAMES[function.name], **structs,
            "swapped": bool(parameters.members) and not parameters.has_defaults})
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(["node", "--disallow-code-generation-from-strings", str(folder / "harness.mjs"),
                           str(folder / "cases.json")], capture_output=True, text=True, timeout=GUARD, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return json.loads(done.stdout)


def _array_of(member):
    from circuitflow.export.javascript.language import ARRAYS

    return ARRAYS[member.dtype.name] if member.shape else None


def differences(folder: Path, exports, rtol: float):
    """What modules give that the interpreter does not, by the place of the export."""
    calls, expected = [], []
    for i, exported in enumerate(exports):
        low = exported.lowered
        for vector in vectors(low):
            for function in exported.functions:
                calls.append((exported, function, vector.arguments))
                expected.append((i, function, vector.results[function.name], vector))
    order = sorted(range(len(calls)), key=lambda n: expected[n][0])
    results = node(folder, [calls[n] for n in order])
    wrong = {}
    for n, result in zip(order, results, strict=True):
        i, function, structs, vector = expected[n]
        if isinstance(result, str):
            wrong[i] = result
            continue
        for struct, numbers, members in zip(function.gives, structs, result, strict=True):
            for member, x in zip(struct.members.values(), numbers, strict=True):
                got = np.asarray([float(y) if not isinstance(y, str) else float(y.replace("Infinity", "inf"))
                                  for y in members[member.name]])
                wanted = np.asarray(x, float).reshape(-1)
                tolerance = rtol * scale_of(wanted, vector)
                if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=0, atol=tolerance, equal_nan=True):
                    wrong[i] = f"{function.name} {member.name}: {got} is not {wanted}"
    return wrong


def is_module(text: str) -> bool:
    """Whether a text is nothing but ASCII without tags."""
    return text.isascii() and not re.search(r"</|<!", text)
