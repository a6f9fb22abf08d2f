"""Test vectors: a `main` that compares the functions of a file with numbers of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from circuitflow.errors import CircuitflowError
from circuitflow.export.flat.functions import Builder, Function, Member, Struct
from circuitflow.interpreter.question import Question

SCALES = (1.0, 0.5, -1.25)
"""What the default inputs are multiplied by, for a vector each."""

_DIFFERS = """static inline int {p}_differs(double x, double expected, double scale)
{{
    const double error = fabs(x - expected);
    if (x == expected || (x != x && expected != expected) || error <= {tolerance} * scale) {{
        return 0;
    }}
    printf("%.17g instead of %.17g\\n", x, expected);
    return 1;
}}"""


def vectors(question: Question, inputs: Mapping[str, Any],
            upstream: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], list[Any], list[Any]]]:
    """Inputs by id, values and gradients; those that a gate refuses are left out."""
    values = {**question.circuit.values, **inputs}
    names = [name for name, node in question.circuit.nodes.items() if node.kind == "input" and name in values]
    seen = set()
    for scale in SCALES:
        here = {name: np.asarray(values[name]) for name in names}
        here = {name: (x * scale).astype(x.dtype) if x.dtype.kind == "f" else x for name, x in here.items()}
        key = tuple(x.tobytes() for x in here.values())
        if key in seen:
            continue
        seen.add(key)
        with suppress(CircuitflowError):
            bound, seeds = question.bind({**inputs, **here}, upstream)
            yield here, *question.interpret(bound, seeds)


def main_of(prefix: str, literal: Any, builder: Builder, functions: Sequence[Function], cases: Sequence[Any],
            work: bool) -> str:
    """The text of `main`, for programs that define `PREFIX_TEST`.

    Args:
        prefix: what the names of the file begin with.
        literal: writes the numbers of a member, or of an array.
        builder: has the structs.
        functions: those to test.
        cases: what `vectors` gives.
        work: whether the functions take a workspace.
    """
    single = any(member.dtype == np.float32 for struct in functions[-1].structs for member in struct.members.values())
    statics = [f"    static {prefix}_{struct.name} {struct.name};"
               for struct in functions[-1].structs[2:] if struct.members]
    statics += [f"    static {prefix}_work work;"] if work else []
    lines = ["    int faults = 0;"]
    for i, (inputs, values, gradients) in enumerate(cases):
        lines.append("    {")
        for struct, changed in ((builder.parameters, {}), (builder.inputs, inputs)):
            if not struct.members:
                continue
            type_ = f"{prefix}_{struct.name}"
            if struct.has_defaults and (i == 0 or not changed):
                lines.append(f"        const {type_} *const {struct.name} = &{prefix}_default_{struct.name};")
            else:
                items = ", ".join(literal(member, changed.get(member.reference, member.default))
                                  for member in struct.members.values())
                lines.append(f"        static const {type_} vector = {{{items}}};")
                lines.append(f"        const {type_} *const {struct.name} = &vector;")
        for function in functions:
            names = [f"{'&' if i > 1 else ''}{struct.name}" for i, struct in enumerate(function.structs)
                     if struct.members]
            arguments = ", ".join(names + ["&work"] * work)
            lines.append(f"        faults += {prefix}_{function.name}({arguments}) != 0;")
            results = [values, gradients][: len(function.structs) - 2]
            for struct, expected in zip(function.structs[2:], results, strict=True):
                lines += _comparisons(prefix, struct, expected, literal)
        lines.append("    }")
    differs = _DIFFERS.format(p=prefix, tolerance="1e-4" if single else "1e-12")
    return "\n".join([f"#ifdef {prefix.upper()}_TEST", "#include <stdio.h>\n", f"{differs}\n",
                      "/* numbers of the interpreter: returns 0 where all are the same */", "int main(void)", "{",
                      *statics, *lines, f'    printf("%d of {len(cases)} vectors, %d numbers wrong\\n", '
                      f"{len(cases)}, faults);", "    return faults != 0;", "}", "#endif"])


def _comparisons(prefix: str, struct: Struct, expected: Sequence[Any], literal: Any) -> Iterator[str]:
    for i, (member, x) in enumerate(zip(struct.members.values(), expected, strict=True)):
        numbers = np.asarray(x, np.float64)
        if not numbers.size:
            continue
        finite = np.abs(numbers[np.isfinite(numbers)])
        scale = literal(Member("", "", (), np.dtype(float)), float(finite.max()) if finite.size else 0.0)
        if not member.shape:
            number = literal(Member("", "", (), np.dtype(float)), numbers)
            yield f"        faults += {prefix}_differs((double){struct.name}.{member.name}, {number}, {scale});"
            continue
        name = f"{struct.name}_{i + 1}"
        yield "        {"
        yield (f"            static const double {name}[{numbers.size}] = "
               f"{literal(Member('', '', numbers.shape, np.dtype(float)), numbers)};")
        yield f"            for (int i = 0; i < {numbers.size}; i++) {{"
        yield f"                faults += {prefix}_differs((double){struct.name}.{member.name}[i], {name}[i], {scale});"
        yield "            }"
        yield "        }"
