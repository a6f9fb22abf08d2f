"""The text of a C file: structs, constants, helpers and functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from circuitflow.export.c.language import TYPES, C
from circuitflow.export.c.main import main_of
from circuitflow.export.c.steps import STEPS
from circuitflow.export.flat.code import Code, Part
from circuitflow.export.flat.comments import origin, plain
from circuitflow.export.flat.functions import Builder, Function, Member, Struct
from circuitflow.export.flat.memory import Buffer, Pools

CODE, STACK = (256, 32), (128, 4)
"""The largest sizes in bytes, of a file and of a function, and the largest share of a line. Tests measure them."""

_CONTRACT = """#if defined(__clang__) || !defined(__GNUC__)
#pragma STDC FP_CONTRACT OFF /* gcc: -std=c99 or -ffp-contract=off says the same */
#endif"""


class CFile:
    """A file under construction.

    Attributes:
        prefix: what all of its names begin with.
        language: C.
        pools: the struct that a caller provides for intermediate results.
    """

    def __init__(self, prefix: str, title: Sequence[str]) -> None:
        """An empty file; `title` are the document's own words."""
        self.prefix, self.language, self._title = prefix, C(prefix), title
        self.pools = Pools()

    def texts(self, builder: Builder, functions: Sequence[Function], cases: Sequence[Any] | None,
              step: str | None, *, header: str | None) -> tuple[str, str]:
        """The header, and the file of functions; where `header` is None, all of it is one header.

        `header` is the name by which the file of functions includes the other. `cases` are test vectors for a `main`;
        `step` is a method of `STEPS`.
        """
        for function in functions:
            self.pools.allot(function.code.buffers)
        storage = "static inline " if header is None else ""
        state, prototype, step_text = (STEPS[step](self.prefix, builder, functions[-1], storage) if step else
                                       ("", "", ""))
        bodies = [self._function(function, storage) for function in functions]
        structs = list({id(s): s for function in functions for s in function.structs if s.members}.values())
        declarations = [*map(self._struct, structs), self._workspace(), state, self._codes(builder)]
        head = [self._comment(bodies, builder), "#include <math.h>\n#include <stdint.h>\n#ifndef __cplusplus\n"
                "#include <stdbool.h>\n#endif"]
        values = [self._defaults(struct) for struct in (builder.parameters, builder.inputs)]
        words = set(re.findall(r"\w+", "\n".join(bodies)))
        tables = [self._table(name, array) for name, array in builder.tables.arrays.items() if name in words]
        helpers = [self.language.helpers[name].replace("@", f"{self.prefix}_") for name in self.language.used
                   if self.language.helper_name(name) in words]
        inside = [_CONTRACT, *tables, *helpers, *bodies, step_text]
        tests = [] if cases is None else [main_of(self.prefix, self._value, builder, functions, cases,
                                                  bool(self.pools.sizes))]
        guard = f"{self.prefix.upper()}_H"
        opening, closing = f"#ifndef {guard}\n#define {guard}", "#endif"
        if header is None:
            parts = [head[0], opening, head[1], *declarations, *values, *inside, *tests, closing]
            return _join(parts), ""
        prototypes = "\n".join([*(f"{self._signature(function)};" for function in functions), prototype]).strip()
        parts = [head[0], opening, head[1], '#ifdef __cplusplus\nextern "C" {\n#endif', *declarations, *values,
                 prototypes, "#ifdef __cplusplus\n}\n#endif", closing]
        return _join(parts), _join([f'#include "{header}"', *inside, *tests])

    # Declarations -----------------------------------------------------------------------------------------------------

    def _comment(self, bodies: Sequence[str], builder: Builder) -> str:
        lines = [plain(text) for text in self._title if text]
        lines += ["", f"{origin()}; it needs no library but math.h.", ""]
        lines += [*_USE.splitlines(), ""]
        count = sum(text.count("\n") for text in bodies)
        longest = max(part.count("\n") for text in bodies for part in text.split("\n}\n"))
        numbers = [*builder.tables.arrays.values(), *(
            member.default for struct in (builder.parameters, builder.inputs) if struct.has_defaults
            for member in struct.members.values())]
        work = sum(size * dtype.itemsize for dtype, size in self.pools.sizes.items())
        code, stack = CODE[0] + CODE[1] * count, STACK[0] + STACK[1] * longest
        lines += [f"By gcc -O2 on x86-64, and by gcc -Os on a Cortex-M4: less than {code:,} bytes of code and",
                  f"{stack:,} of stack, beside those of math.h. There are "
                  f"{sum(x.nbytes for x in numbers):,} bytes of constants and {work:,} of workspace."]
        return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */"

    def _struct(self, struct: Struct) -> str:
        lines = [f"    {self._declaration(member)};{_about(member)}" for member in struct.members.values()]
        return "typedef struct {\n" + "\n".join(lines) + f"\n}} {self.prefix}_{struct.name};"

    def _declaration(self, member: Member) -> str:
        size = f"[{max(1, int(np.prod(member.shape)))}]" if member.shape else ""
        return f"{TYPES[member.dtype.name]} {member.name}{size}"

    def _workspace(self) -> str:
        """The struct of pools, and its size."""
        if not self.pools.sizes:
            return ""
        lines = [f"    {TYPES[dtype.name]} {dtype.name}s[{size}];" for dtype, size in self.pools.sizes.items()]
        return ("/* memory for intermediate results; what it holds before and after a call is of no account */\n"
                "typedef struct {\n" + "\n".join(lines) + f"\n}} {self.prefix}_work;\n"
                f"#define {self.prefix.upper()}_WORK_BYTES sizeof({self.prefix}_work)")

    def _codes(self, builder: Builder) -> str:
        if not builder.refusals:
            return ""
        lines = [f" *   {number}: {plain(name, 100)}" for name, number in builder.refusals.items()]
        return "/* A function returns 0, or the number of the node that refuses its operands:\n" + "\n".join(
            lines) + "\n */"

    def _defaults(self, struct: Struct) -> str:
        members = list(struct.members.values())
        if not struct.has_defaults:
            return ""
        items = [self._value(member, member.default) for member in members]
        name = f"{self.prefix}_default_{struct.name}"
        return (f"static const {self.prefix}_{struct.name} {name} = {{\n"
                + ",\n".join(f"    {item} /* {member.name} */" for item, member in zip(items, members, strict=True))
                + "\n};")

    def _value(self, member: Member, x: Any) -> str:
        """The value of a member where it is initialised; zeros where there is none."""
        x = np.zeros(member.shape, member.dtype) if x is None else np.asarray(x)
        if not member.shape:
            return self.language.literal(x, member.dtype).text
        return "{" + self._numbers(x, member.dtype) + "}"

    def _numbers(self, array: Any, dtype: np.dtype[Any]) -> str:
        """The elements of an array in lines; C has no empty one."""
        return "\n    ".join(self.language.numbers(array, dtype)) or "0"

    def _table(self, name: str, array: Any) -> str:
        return (f"static const {TYPES[array.dtype.name]} {name}[{array.size}] = {{\n    "
                f"{self._numbers(array, array.dtype)}\n}};")

    # Functions --------------------------------------------------------------------------------------------------------

    def _parameters(self, structs: Sequence[Struct], *, inputs: int = 2) -> list[str]:
        texts = [f"{'const ' if i < inputs else ''}{self.prefix}_{struct.name} *{struct.name}"
                 for i, struct in enumerate(structs) if struct.members]
        return [*texts, *([f"{self.prefix}_work *work"] if self.pools.sizes else [])]

    def _names(self, function: Function) -> list[str]:
        return [*(struct.name for struct in function.structs if struct.members),
                *(["work"] if self.pools.sizes else [])]

    def _signature(self, function: Function, ending: str = "") -> str:
        return (f"int {self.prefix}_{function.name}{ending}("
                f"{', '.join(self._parameters(function.structs))})")

    def _function(self, function: Function, storage: str) -> str:
        """A function; where it has several parts, each is one that it calls."""
        code, names = function.code, self._names(function)
        head = f"{storage}{self._signature(function)}"
        if len(code.parts) == 1:
            return f"{head}\n{{\n{self._part(code, code.parts[0], names)}\n    return 0;\n}}"
        texts, calls = [], []
        for i, part in enumerate(code.parts, 1):
            ending = f"_part_{i}"
            texts.append(f"static int {self._signature(function, ending).removeprefix('int ')}\n{{\n"
                         f"{self._part(code, part, names)}\n    return 0;\n}}")
            call = f"{self.prefix}_{function.name}{ending}({', '.join(names)})"
            calls.append(f"    status = {call};" if i == 1 else
                         f"    status = status != 0 ? status : {call};")
        return "\n\n".join([*texts, f"{head}\n{{\n    int status;\n" + "\n".join(calls) + "\n    return status;\n}"])

    def _part(self, code: Code, part: Part, names: Sequence[str]) -> str:
        statements = part.finish()
        lines = [f"    {TYPES[buffer.dtype.name]} *const {buffer.name} = {self._place(buffer)};"
                 for buffer in part.buffers.values()]
        lines += [f"    const {TYPES[buffer.dtype.name]} {name} = {self._slot(buffer)};"
                  for name, buffer in part.reads.items()]
        lines += statements
        lines += [f"    {self._slot(buffer)} = {name};" for name, buffer in part.writes.items()]
        unused = [f"    (void){name};" for name in _unread("\n".join(lines), names)]
        return "\n".join([*lines, *unused])

    def _place(self, buffer: Buffer) -> str:
        return f"work->{buffer.dtype.name}s" + (f" + {buffer.offset}" if buffer.offset else "")

    def _slot(self, buffer: Buffer) -> str:
        return f"work->{buffer.dtype.name}s[{buffer.offset}]"


_USE = """\
Compile it with -std=c99, or with -ffp-contract=off: a product and a sum are then rounded one after the other, and
numbers are those of circuitflow in Python. Do not compile it with -ffast-math: it does away with infinities and NaN.
The functions keep nothing between calls, so any number of threads may call them, each with structs of its own."""


def _about(member: Member) -> str:
    """What a member is, where its name and type do not say it."""
    shape = " x ".join(map(str, member.shape)) if len(member.shape) > 1 else ""
    words = plain(member.meaning, 200) or (plain(member.reference, 100) if member.reference != member.name else "")
    words = ", ".join(text for text in (words, shape) if text)
    return f" /* {words} */" if words else ""


def _join(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _unread(text: str, parameters: Sequence[str]) -> list[str]:
    """The parameters and variables of a function that nothing reads, for compilers that warn of them."""
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    declaration = re.compile(rf"^    (?:{'|'.join(TYPES.values())}) (\w+)(?= = |;)", re.MULTILINE)
    variables = declaration.findall(code)
    words = Counter(re.findall(r"\b[A-Za-z_]\w*\b(?! = )", declaration.sub("", code)))
    return [name for name in [*parameters, *variables] if not words[name]]
