"""The code of a page with short names: of a circuit of a thousand gates the names are most of the code."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from string import ascii_letters, digits

_START = "function value("
_TEXT = r'"(?:[^"\\]|\\.)*"|`[^`]*`'
_TOKEN = re.compile(rf"{_TEXT}|(?<![\w$.])(inputs\.|outputs\.)?([A-Za-z_$][\w$]*)(?![\w$:])")
_SPACED = re.compile(rf"({_TEXT})|\s*([=*/?:,])\s*")
_DECLARED = re.compile(r"^(?:const|let) ([A-Za-z_]\w*) =", re.MULTILINE)
_NUMBER = re.compile(r"outputs\.(\w+) = (\w+);")
_READ = re.compile(r"const (\w+)=inputs\.(\w+);")
_ENTRY = re.compile(r"(\w+): (new \w+\(\d+\)|[^,{}()]+)")


def compact(module: str, members: Collection[str]) -> tuple[str, Mapping[str, str]]:
    """The module with short names in its function, and the new names of the members of its inputs and outputs.

    Only names change, and where the numbers among the outputs are gathered; texts, which messages have, stay. A page
    gives numbers for numbers, so that is not asked for every input.
    """
    before, _, body = module.partition(_START)
    locals_ = {*_DECLARED.findall(body)} - {"outputs"}
    taken = {*re.findall(r"[A-Za-z_$][\w$]*", module)}
    # No word of JavaScript ends with a digit.
    short = (name for size in itertools.count() for letters in
             itertools.product(ascii_letters, *[ascii_letters + digits] * size, digits)
             if (name := "".join(letters)) not in taken)
    names = dict(zip(sorted(locals_.union(members)), short, strict=False))

    def renamed(match: re.Match[str]) -> str:
        place, name = match[1] or "", match[2]
        return f"{place}{names[name]}" if place or name in locals_ else str(match[0])

    lines = [line for line in body.split("\n") if not line.startswith("needs_number_(")]
    text = _TOKEN.sub(renamed, "\n".join(_gathered(lines, names)))
    lines = [_SPACED.sub(lambda match: match[1] or match[2], line) for line in text.split("\n")]
    shorthand = (re.sub(r"(?<=[{,])(\w+):\1(?=[,}])", r"\1", line) for line in lines)
    return before + _START + "\n".join(_joined(_taken_apart(shorthand))), {name: names[name] for name in members}


def _gathered(lines: list[str], names: Mapping[str, str]) -> Iterator[str]:
    """Outputs that are numbers, as one object in place of a line for each."""
    mentions = Counter(name for line in lines for name in re.findall(r"outputs\.(\w+)", line))
    found = [_NUMBER.fullmatch(line) for line in lines]
    numbers = {match[1] for match in found if match and mentions[match[1]] == 1}
    for is_number, group in itertools.groupby(zip(lines, found, strict=True),
                                              lambda pair: pair[1] is not None and pair[1][1] in numbers):
        if is_number:
            pairs = ", ".join(f"{names[match[1]]} : {match[2]}" for _, match in group if match)
            yield f"Object.assign(outputs, {{{pairs}}});"
            continue
        for line, _ in group:
            if line.startswith("const outputs = {"):
                line = ", ".join(f"{names[name]} : {value}" for name, value in _ENTRY.findall(line)
                                 if name not in numbers)
                line = f"const outputs = {{{line}}};"
            yield line


def _taken_apart(lines: Iterable[str]) -> Iterator[str]:
    """One declaration for inputs that are read one after the other."""
    for is_read, group in itertools.groupby(lines, lambda line: _READ.fullmatch(line) is not None):
        if is_read:
            pairs = _READ.findall("\n".join(group))
            members = ",".join(member if name == member else f"{member}:{name}" for name, member in pairs)
            yield f"const {{{members}}}=inputs;"
        else:
            yield from group


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """One declaration in place of many."""
    for is_simple, group in itertools.groupby(lines, lambda line: line.startswith("const ") and line.endswith(";")
                                              and "{" not in line):
        if is_simple:
            yield "const " + ",\n".join(line[len("const ") : -1] for line in group) + ";"
        else:
            yield from group
