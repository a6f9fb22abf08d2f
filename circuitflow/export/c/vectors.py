"""Test vectors: a `main` that compares the functions of a file with numbers of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import CircuitflowError
from circuitflow.export.flat.functions import Builder, Function, Member, Struct

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


class Vector(NamedTuple):
    """A call and its results.

    Attributes:
        arguments: numbers of the members of parameters and inputs, by their keys there.
        values, gradients: what the interpreter gives, in order.
    """

    arguments: Mapping[str, Any]
    values: Sequence[Any]
    gradients: Sequence[Any]


def vectors(derived: Derived, builder: Builder, inputs: Mapping[str, Any],
            upstream: Mapping[str, Any]) -> Iterator[Vector]:
    """Calls with the defaults, and with inputs that are multiples of them; those that a gate refuses are left out.

    An argument without a default has other numbers.
    """
    question, seen = derived.question, set[bytes]()
    seeds = {id_: text for text, id_ in derived.upstream.items()}
    members = {**builder.parameters.members, **builder.inputs.members}
    plain = {key: _numbers(member) if member.default is None else member.default for key, member in members.items()}
    for scale in SCALES:
        here = {key: (x * x.dtype.type(scale) if key in builder.inputs.members and key not in seeds
                      and x.dtype.kind == "f" else x) for key, x in plain.items()}
        contents = b"".join(x.tobytes() for x in here.values())
        if contents in seen:
            continue
        seen.add(contents)
        arguments = {reference: here[id_].astype(question.circuit.nodes[reference].types[0].dtype)
                     for reference, id_ in derived.inputs.items()}
        sent = {text: here[id_].astype(derived.type_of(id_).dtype) for id_, text in seeds.items() if id_ in here}
        with suppress(CircuitflowError):
            bound, starts = question.bind({**inputs, **arguments}, {**upstream, **sent})
            yield Vector(here, *question.interpret(bound, starts))


def _numbers(member: Member) -> Any:
    """Numbers for an argument that has none."""
    size = int(np.prod(member.shape))
    numbers = np.linspace(0.9, -0.4, size) if member.dtype.kind == "f" else np.zeros(size)
    return numbers.astype(member.dtype).reshape(member.shape)


def main_of(prefix: str, literal: Any, builder: Builder, functions: Sequence[Function], cases: Sequence[Vector],
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
    statics = [*statics, *[f"    static {prefix}_work work;"] * work] if cases else []
    lines = ["    int faults = 0;"]
    for i, (arguments, values, gradients) in enumerate(cases):
        lines.append("    {")
        for struct in (builder.parameters, builder.inputs):
            if not struct.members:
                continue
            type_ = f"{prefix}_{struct.name}"
            if struct.has_defaults and (i == 0 or struct is builder.parameters):
                lines.append(f"        const {type_} *const {struct.name} = &{prefix}_default_{struct.name};")
            else:
                items = ", ".join(literal(member, arguments[key]) for key, member in struct.members.items())
                lines.append(f"        static const {type_} {struct.name}_here = {{{items}}};")
                lines.append(f"        const {type_} *const {struct.name} = &{struct.name}_here;")
        for function in functions:
            names = [f"{'&' if i > 1 else ''}{struct.name}" for i, struct in enumerate(function.structs)
                     if struct.members]
            call = ", ".join(names + ["&work"] * work)
            lines.append(f"        faults += {prefix}_{function.name}({call}) != 0;")
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
