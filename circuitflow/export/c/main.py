"""A `main` that compares the functions of a C file with numbers of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.c.file import CFile
from circuitflow.engines.flat.functions import Builder, Function, Member, Struct
from circuitflow.engines.flat.vectors import Vector, scale_of

_DIFFERS = """static inline int {p}_differs(double x, double expected, double scale)
{{
    const double error = fabs(x - expected);
    if (x == expected || (x != x && expected != expected) || error <= {tolerance} * scale) {{
        return 0;
    }}
    printf("%.17g instead of %.17g\\n", x, expected);
    return 1;
}}"""


def main_of(file: CFile, builder: Builder, functions: Sequence[Function], cases: Sequence[Vector],
            tolerance: float) -> str:
    """The text of `main`, for programs that define `PREFIX_TEST`.

    It returns 0 where there are vectors and all numbers are right.

    Args:
        file: the file that it goes into; places in the workspace are given.
        builder: has the structs.
        functions: those to test.
        cases: what `vectors` gives.
        tolerance: what `tolerance_of` gives.
    """
    prefix, literal, work = file.prefix, file.value, file.takes_work
    statics = [f"    static {prefix}_{struct.name} {struct.name};" for struct in {
        struct.name: struct for function in functions for struct in function.gives}.values() if struct.members]
    statics = [*statics, *[f"    static {prefix}_work work;"] * work] if cases else []
    lines = ["    int faults = 0;"]
    for i, vector in enumerate(cases):
        lines.append("    {")
        for struct in (builder.parameters, builder.inputs):
            if not struct.members:
                continue
            type_ = f"{prefix}_{struct.name}"
            if struct.has_defaults and (i == 0 or struct is builder.parameters):
                lines.append(f"        const {type_} *const {struct.name} = &{prefix}_default_{struct.name};")
            else:
                items = ", ".join(literal(member, vector.arguments[key]) for key, member in struct.members.items())
                lines.append(f"        static const {type_} {struct.name}_here = {{{items}}};")
                lines.append(f"        const {type_} *const {struct.name} = &{struct.name}_here;")
        for function in functions:
            for struct in function.takes[2:]:
                items = ", ".join(literal(member, vector.arguments[key]) for key, member in struct.members.items())
                lines.append(f"        static const {prefix}_{struct.name} {struct.name} = {{{items}}};")
            names = [*(struct.name for struct in function.takes[:2] if struct.members),
                     *(f"&{struct.name}" for struct in function.structs[2:] if struct.members)]
            call = ", ".join(names + ["&work"] * work)
            lines.append(f"        faults += {prefix}_{function.name}({call}) != 0;")
            for struct, expected in zip(function.gives, vector.results[function.name], strict=True):
                lines += _comparisons(prefix, struct, expected, literal, vector)
        lines.append("    }")
    differs = _DIFFERS.format(p=prefix, tolerance=tolerance)
    result = "faults != 0" if cases else "1"  # what nothing was compared with has not passed
    return "\n".join([f"#ifdef {file.macros}_TEST", "#include <stdio.h>\n", f"{differs}\n",
                      "/* numbers of the interpreter: returns 0 where all are the same */", "int main(void)", "{",
                      *statics, *lines, f'    printf("%d of {len(cases)} vectors, %d numbers wrong\\n", '
                      f"{len(cases)}, faults);", f"    return {result};", "}", "#endif"])


def _comparisons(prefix: str, struct: Struct, expected: Sequence[Any], literal: Any, vector: Vector) -> Iterator[str]:
    for i, (member, x) in enumerate(zip(struct.members.values(), expected, strict=True)):
        numbers = np.asarray(x, np.float64)
        if not numbers.size:
            continue
        scale = literal(Member("", "", (), np.dtype(float)), scale_of(numbers, vector))
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
