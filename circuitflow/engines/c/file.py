"""The text of a C file: structs, constants, helpers and functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.c.language import TYPES, C
from circuitflow.engines.flat.code import Code, Part
from circuitflow.engines.flat.comments import origin, plain
from circuitflow.engines.flat.functions import Builder, Function, Member, Struct
from circuitflow.engines.flat.lowered import Lowered
from circuitflow.engines.flat.memory import Buffer, Pools

_INCLUDES = "#include <math.h>\n#include <stdint.h>\n#ifndef __cplusplus\n#include <stdbool.h>\n#endif"

CODE, STACK = (256, 32), (128, 4)
"""The largest sizes in bytes, of a file and of a function, and the largest share of a line. Tests measure them."""

_POOLS = {np.dtype(name): f"{name}s" for name in TYPES}
"""What a workspace calls its numbers of a dtype."""

_CONTRACT = """#if defined(__clang__) || !defined(__GNUC__)
#pragma STDC FP_CONTRACT OFF /* gcc: -std=c99 or -ffp-contract=off says the same */
#endif"""


class More(NamedTuple):
    """A part of a file beside the functions of the circuit.

    Attributes:
        text: its functions.
        prototypes: what declares those that a caller calls.
        declaration: a struct of its own.
        include: a header of the standard library.
    """

    text: str
    prototypes: Sequence[str]
    declaration: str = ""
    include: str = ""


class CFile:
    """A file under construction.

    Attributes:
        prefix: what all of its names begin with.
        macros: what all of its macros begin with.
        language: C.
        pools: the struct that a caller provides for intermediate results.
        storage: what stands before a function that a caller calls.
    """

    def __init__(self, prefix: str, title: Sequence[str] = (), *, header: str | None = None,
                 by_pointer: bool = False, on_stack: bool = False) -> None:
        """An empty file.

        Args:
            prefix: what all of its names begin with.
            title: the document's own words.
            header: the name by which a file of functions includes the header; None where all of it is one header.
            by_pointer: whether an array in a struct is a pointer to its numbers, and not the numbers themselves.
            on_stack: whether a function has its workspace on the stack, and not from its caller.
        """
        self.prefix, self.language, self._title = prefix, C(prefix, comments=not by_pointer), title
        # Macros are capitals. Two prefixes that differ in nothing but capitals have different ones.
        self.macros = prefix.swapcase() if prefix.islower() or prefix.isupper() else prefix
        self.pools = Pools()
        self.storage = "static inline " if header is None and not by_pointer else ""
        self._header, self._by_pointer, self._on_stack = header, by_pointer, on_stack

    def allot(self, functions: Sequence[Function]) -> None:
        """Give the intermediate results of functions their places in the workspace."""
        for function in functions:
            self.pools.allot(function.code.buffers)

    def library(self, low: Lowered) -> str:
        """The text of a file of functions alone, without any text of the document; errors are those of the language.

        Its structs have the members of `Function.structs` in their order.
        """
        self.allot(low.functions)
        declarations, _, inside = self._parts(low.builder, low.functions)
        return _join([_INCLUDES, *declarations, *inside])

    def texts(self, builder: Builder, functions: Sequence[Function], more: Sequence[More] = (),
              tests: str = "") -> tuple[str, str]:
        """The header, and the file of functions, or "" where all of it is one header; places are given already."""
        declarations, bodies, inside = self._parts(builder, functions)
        declarations += [*(part.declaration for part in more), self._codes(builder)]
        inside += [*(part.text for part in more), tests]
        values = [self._defaults(struct) for struct in (builder.parameters, builder.inputs)]
        guard = f"{self.macros}_H"
        includes = [f"#include <{part.include}>" for part in more if part.include]
        head = [self._comment([*bodies, *(part.text for part in more)], builder),
                f"#ifndef {guard}\n#define {guard}", "\n".join([_INCLUDES, *includes])]
        if self._header is None:
            return _join([*head, *declarations, *values, *inside, "#endif"]), ""
        prototypes = "\n".join(f"{text};" for text in [*map(self._signature, functions), *(
            prototype for part in more for prototype in part.prototypes)])
        parts = [*head, '#ifdef __cplusplus\nextern "C" {\n#endif', *declarations, *values, prototypes,
                 "#ifdef __cplusplus\n}\n#endif", "#endif"]
        return _join(parts), _join([f'#include "{self._header}"', *inside])

    def _parts(self, builder: Builder, functions: Sequence[Function]) -> tuple[list[str], list[str], list[str]]:
        """The declarations of structs, the functions, and these with what they use."""
        bodies = [self._function(function) for function in functions]
        structs = {id(struct): (struct, struct in function.takes) for function in functions
                   for struct in function.structs if struct.members}
        declarations = [*(self._struct(struct, is_read=is_read) for struct, is_read in structs.values()),
                        self._workspace()]
        words = set(re.findall(r"\w+", "\n".join(bodies)))
        tables = [self._table(name, array) for name, array in builder.tables.arrays.items() if name in words]
        helpers = [self.language.helpers[name].replace("@", f"{self.prefix}_") for name in self.language.used
                   if self.language.helper_name(name) in words]
        return declarations, bodies, [_CONTRACT, *tables, *helpers, *bodies]

    # Declarations -----------------------------------------------------------------------------------------------------

    def _comment(self, bodies: Sequence[str], builder: Builder) -> str:
        lines = [plain(text) for text in self._title if text]
        lines += ["", f"{origin()}; it needs no library but math.h.", ""]
        lines += [*_USE.splitlines(), ""]
        count, code = sum(map(_weight, bodies)), "\n".join(bodies)
        for name in self.language.used:  # compilers put a helper into the place of each call
            count += _weight(self.language.helpers[name]) * code.count(f"{self.language.helper_name(name)}(")
        longest = max(part.count("\n") for text in bodies for part in text.split("\n}\n"))
        numbers = [*builder.tables.arrays.values(), *(
            member.default for struct in (builder.parameters, builder.inputs) if struct.has_defaults
            for member in struct.members.values())]
        work = sum(size * dtype.itemsize for dtype, size in self.pools.sizes.items())
        size, stack = CODE[0] + CODE[1] * count, STACK[0] + STACK[1] * longest + work * self._on_stack
        lines += [f"By gcc -O2 on x86-64, and by gcc -Os on a Cortex-M4: less than {size:,} bytes of code and",
                  f"{stack:,} of stack, beside those of math.h. There are "
                  f"{sum(x.nbytes for x in numbers):,} bytes of constants and {work:,} of workspace."]
        return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */"

    def _struct(self, struct: Struct, *, is_read: bool) -> str:
        lines = [f"    {self._declaration(member, is_read=is_read)}" for member in struct.members.values()]
        return "typedef struct {\n" + "\n".join(lines) + f"\n}} {self.prefix}_{struct.name};"

    def _declaration(self, member: Member, *, is_read: bool) -> str:
        type_ = TYPES[member.dtype.name]
        if self._by_pointer:
            return f"{'const ' if is_read and member.shape else ''}{type_} {'*' if member.shape else ''}{member.name};"
        size = f"[{max(1, int(np.prod(member.shape)))}]" if member.shape else ""
        return f"{type_} {member.name}{size};{_about(member)}"

    def _workspace(self) -> str:
        """The struct of pools, and its size."""
        if not self.pools.sizes:
            return ""
        lines = [f"    {TYPES[dtype.name]} {_POOLS[dtype]}[{size}];" for dtype, size in self.pools.sizes.items()]
        words = ("memory for intermediate results, which a function has on its stack" if self._on_stack else
                 "memory for intermediate results; what it holds before and after a call is of no account")
        return (f"/* {words} */\n"
                "typedef struct {\n" + "\n".join(lines) + f"\n}} {self.prefix}_work;\n"
                f"#define {self.macros}_WORK_BYTES sizeof({self.prefix}_work)")

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
        items = [self.value(member, member.default) for member in members]
        name = f"{self.prefix}_default_{struct.name}"
        return (f"static const {self.prefix}_{struct.name} {name} = {{\n"
                + ",\n".join(f"    {item} /* {member.name} */" for item, member in zip(items, members, strict=True))
                + "\n};")

    def value(self, member: Member, x: Any) -> str:
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

    @property
    def takes_work(self) -> bool:
        """Whether a caller gives functions their workspace."""
        return bool(self.pools.sizes) and not self._on_stack

    def _signature(self, function: Function, ending: str = "") -> str:
        parameters = [f"{'const ' if struct in function.takes else ''}{self.prefix}_{struct.name} *{struct.name}"
                      for struct in function.structs if struct.members]
        if self.takes_work or (ending and self.pools.sizes):
            parameters.append(f"{self.prefix}_work *work")
        return f"int {self.prefix}_{function.name}{ending}({', '.join(parameters)})"

    def _function(self, function: Function) -> str:
        """A function; where it has several parts, each is one that it calls."""
        code, names = function.code, [struct.name for struct in function.structs if struct.members]
        head = f"{self.storage}{self._signature(function)}"
        if len(code.parts) == 1:
            body = self._part(code, code.parts[0], [*names, *["work"] * self.takes_work])
            return f"{head}\n{{\n{self._memory(body)}{body}\n    return 0;\n}}"
        names += ["work"] * bool(self.pools.sizes)
        texts, calls = [], []
        for i, part in enumerate(code.parts, 1):
            ending = f"_part_{i}"
            texts.append(f"static int {self._signature(function, ending).removeprefix('int ')}\n{{\n"
                         f"{self._part(code, part, names)}\n    return 0;\n}}")
            call = f"{self.prefix}_{function.name}{ending}({', '.join(names)})"
            calls.append(f"    status = {call};" if i == 1 else
                         f"    status = status != 0 ? status : {call};")
        body = "\n".join(calls)
        return "\n\n".join([*texts, f"{head}\n{{\n{self._memory(body)}    int status;\n{body}\n    return status;\n}}"])

    def _memory(self, body: str) -> str:
        """The workspace of a function that has it on the stack, if it uses any."""
        if not (self._on_stack and re.search(r"\bwork\b", body)):
            return ""
        return f"    {self.prefix}_work memory;\n    {self.prefix}_work *const work = &memory;\n"

    def _part(self, code: Code, part: Part, names: Sequence[str]) -> str:
        statements = part.finish()
        lines = [f"    {self.language.type_name(buffer.dtype)} *const {buffer.name} = {self._place(buffer)};"
                 for buffer in part.buffers.values()]
        lines += [f"    const {self.language.type_name(buffer.dtype)} {name} = {self._slot(buffer)};"
                  for name, buffer in part.reads.items()]
        lines += statements
        lines += [f"    {self._slot(buffer)} = {name};" for name, buffer in part.writes.items()]
        unused = [f"    (void){name};" for name in _unread("\n".join(lines), names)]
        return "\n".join([*lines, *unused])

    def _place(self, buffer: Buffer) -> str:
        return f"work->{_POOLS[buffer.dtype]}" + (f" + {buffer.offset}" if buffer.offset else "")

    def _slot(self, buffer: Buffer) -> str:
        return f"work->{_POOLS[buffer.dtype]}[{buffer.offset}]"


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


def _weight(text: str) -> int:
    """The number of lines of a function below its head; a long line counts as several."""
    return sum(1 + len(line) // 80 for line in text.splitlines()[3:])


def _join(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _unread(text: str, parameters: Sequence[str]) -> list[str]:
    """The parameters and variables of a function that nothing reads, for compilers that warn of them."""
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    declaration = re.compile(rf"^    (?:{'|'.join(TYPES.values())}) (\w+)(?= = |;)", re.MULTILINE)
    variables = declaration.findall(code)
    words = Counter(re.findall(r"\b[A-Za-z_]\w*\b(?! = )", declaration.sub("", code)))
    return [name for name in [*parameters, *variables] if not words[name]]
