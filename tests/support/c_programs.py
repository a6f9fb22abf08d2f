"""Exported C files, compiled and called."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import circuitflow as cf
from support.gate_examples import EXAMPLES
from support.suite import GUARD

FLAGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]

FIRST_AND_LAST = {place for gate in {example.gate for example in EXAMPLES} for places in [
    [i for i, example in enumerate(EXAMPLES) if example.gate == gate]] for place in (places[0], places[-1])}
"""The places of two examples of every gate."""

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")

_TYPES = {"float64": ctypes.c_double, "float32": ctypes.c_float, "bool": ctypes.c_bool,
          **{name: getattr(ctypes, f"c_{name}") for bits in (8, 16, 32, 64) for name in (f"int{bits}", f"uint{bits}")}}


def compile_c(folder: Path, text: str, *flags: str, language: str = "c", output: str = "program") -> Path:
    """Compile a file that has to be free of warnings."""
    source, program = folder / f"{output}.{language.replace('++', 'pp')}", folder / output
    source.write_text(text)
    compiler = ["gcc", *FLAGS] if language == "c" else ["g++", *FLAGS[1:], "-ffp-contract=off"]
    done = subprocess.run([*compiler, *flags, "-x", language, str(source), "-o", str(program), "-lm"],
                          capture_output=True, text=True, timeout=GUARD, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return program


def shared(folder: Path, exports, *flags: str) -> ctypes.CDLL:
    """Several exported files, each with a prefix of its own, as one shared library."""
    (folder / "models.h").write_text("\n".join(x.header for x in exports))
    text = '#include "models.h"\n'
    for x in exports:
        for function in x.functions:
            names = [struct.name for struct in function.structs if struct.members]
            names += ["work"] * x.file.takes_work
            arguments = ", ".join(f"({x.file.prefix}_{name} *){name}" for name in names)
            parameters = ", ".join(f"void *{name}" for name in names)
            text += (f"int call_{x.file.prefix}_{function.name}({parameters});\n"
                     f"int call_{x.file.prefix}_{function.name}({parameters})\n{{\n"
                     f"    return {x.file.prefix}_{function.name}({arguments});\n}}\n")
    return ctypes.CDLL(str(compile_c(folder, text, "-shared", "-fPIC", *(flags or ["-O1"]), output="library.so")))


def programs(folder: Path, exports, *flags: str) -> dict[int, str]:
    """Run the test vectors of several exported files in one program; gives what they printed where numbers differ."""
    text = "#include <stdio.h>\n"
    for x in exports:
        guard = f"{x.file.prefix.upper()}_TEST"
        text += f"#define {guard}\n#define main main_{x.file.prefix}\n{x.header}#undef main\n"
    text += "int main(void)\n{\n"
    for x in exports:
        text += f'    printf("%d\\n", main_{x.file.prefix}());\n'
    program = compile_c(folder, text + "    return 0;\n}\n", *flags)
    done = subprocess.run([program], capture_output=True, text=True, timeout=GUARD, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    wrong, lines = {}, []
    count = 0
    for line in done.stdout.splitlines():
        lines.append(line)
        if re.fullmatch("[01]", line):
            if line != "0" or lines[-2].startswith("0 of"):
                wrong[count] = "\n".join(lines)
            count, lines = count + 1, []
    assert count == len(exports)
    return wrong


def agreed(subjects, export_one, differences):
    """The subjects that can be exported, after their functions gave the interpreter's numbers, and the others.

    `export_one` exports a subject, given its place; `differences` says what exports give that is wrong, by place.
    """
    exports, refused = {}, {}
    for name, subject in subjects.items():
        try:
            exports[name] = export_one(subject, len(exports))
        except cf.InputError as error:
            refused[name] = str(error)
    wrong = differences([*exports.values()])
    assert {name: wrong[i] for i, name in enumerate(exports) if i in wrong} == {}
    return [*exports], refused


@functools.cache
def _array(dtype, size):
    return _TYPES[dtype] * max(1, size)


def _struct(members):
    fields = [(member.name, _array(member.dtype.name, int(np.prod(member.shape))) if member.shape
               else _TYPES[member.dtype.name]) for member in members]
    return type("Struct", (ctypes.Structure,), {"_fields_": fields})


def call(library: ctypes.CDLL, x, function, inputs=None, tangents=None):
    """The status, then the numbers of each struct that a function fills in, by the names of the circuit."""
    structs = []
    for struct in function.structs:
        if not struct.members:
            continue
        here = _struct(struct.members.values())()
        for member in struct.members.values():
            given = tangents if struct.name == "tangents" else inputs
            value = (given or {}).get(member.reference, member.default)
            if struct in function.takes and value is not None:
                value = np.asarray(value, member.dtype)
                setattr(here, member.name, _array(member.dtype.name, value.size)(*value.reshape(-1).tolist())
                        if member.shape else value.item())
        structs.append((struct, here))
    work = [type("Work", (ctypes.Structure,), {"_fields_": [
        (name.name, _array(name.name, size)) for name, size in x.file.pools.sizes.items()]})()] if (
            x.file.takes_work) else []
    status = getattr(library, f"call_{x.file.prefix}_{function.name}")(
        *(ctypes.byref(here) for _, here in structs), *map(ctypes.byref, work))
    results = []
    for struct, here in structs:
        if struct in function.gives:
            results.append({key: np.asarray(getattr(here, member.name), member.dtype).reshape(-1)[
                : int(np.prod(member.shape))].reshape(member.shape) for key, member in struct.members.items()})
    return status, results
