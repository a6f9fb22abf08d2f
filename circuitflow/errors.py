"""What can go wrong, as one tree.

    CircuitflowError
    ├── DocumentError    a document is not valid; carries every fault, each with its place in the text
    ├── InputError       what was asked of a valid circuit does not fit it: an unknown id, a missing or misshapen value
    │   └── UnknownNameError    a builder or a wire has no gate or method of a name; it is an AttributeError too
    ├── GateError        a gate could not be applied to the values that reached its node
    ├── VerificationError    an engine gives another number than the interpreter
    └── MissingExtraError    an optional package is needed; the message names the extra to install

Every message names the node, what was found, what was expected and the remedy.
"""

from __future__ import annotations

import difflib
import itertools
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from circuitflow.text import shown

__all__ = [
    "CircuitflowError",
    "DocumentError",
    "Fault",
    "GateError",
    "InputError",
    "MissingExtraError",
    "UnknownNameError",
    "VerificationError",
    "listing",
    "nearest",
    "printable",
    "short",
]


class CircuitflowError(Exception):
    """Base of every error that circuitflow raises on purpose."""


class DocumentError(CircuitflowError, ValueError):
    """A document is not valid.

    Attributes:
        faults: every fault found, in the order of the text.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.faults,), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the faults alone, for the document is wrong and not the code."""
        count = len(self.faults)
        return [f"{type(self).__name__}: {count} fault{'s' * (count != 1)}", *str(self).split("\n")]


class InputError(CircuitflowError, ValueError):
    """What was asked of a valid circuit does not fit it."""


class UnknownNameError(InputError, AttributeError):
    """A builder or a wire has nothing of that name. `hasattr`, `copy` and completion expect an `AttributeError`."""


class GateError(CircuitflowError, ArithmeticError):
    """A gate could not be applied to the values that reached its node, or a row of a gate table is wrong.

    Attributes:
        at: id of the node, and what went wrong there; None where it belongs to no node.
    """

    at: tuple[str, str] | None = None

    @classmethod
    def of(cls, node: str, what: str) -> GateError:
        """What went wrong at a node."""
        error = cls(f"node '{node}': {what}")
        error.at = node, what
        return error


class VerificationError(CircuitflowError, ArithmeticError):
    """An engine gives another number than the interpreter: a fault of circuitflow."""


class MissingExtraError(CircuitflowError, ImportError):
    """An optional package is needed and not installed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document, with its place.

    Attributes:
        message: what was found, what was expected, and the remedy; names the node where there is one.
        pointer: the place as a JSON Pointer (RFC 6901); "" is the whole document.
        node: id of the node at fault, or None.
        file: name of the document.
        line, column: place in the text, both from 1, in characters; None where there is no text to point into.
        source: the text of that line, or None.
    """

    message: str
    pointer: str = ""
    node: str | None = None
    file: str = "<document>"
    line: int | None = None
    column: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        if self.line is None or self.column is None or self.source is None:
            return f"{printable(self.file)}: {self.message}"
        text, caret = _window(self.source, self.column - 1)
        return f"{printable(self.file)}:{self.line}:{self.column}: {self.message}\n    {text}\n    {' ' * caret}^"


def _window(line: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a long line around a column, every character one cell wide, and the column in it."""
    start = 0 if len(line) <= width else max(0, min(column - width // 2, len(line) - width))
    seen = shown(line[start : start + width].replace("\t", " "), lambda c: "\ufffd")
    cells = ("\ufffd" if unicodedata.east_asian_width(c) in "WF" or unicodedata.category(c) in ("Mn", "Me") else c
             for c in seen)
    return "".join(cells), column - start


def printable(text: str, limit: int = 200) -> str:
    """Text from a file made safe for a terminal: nothing but what a reader sees, and not too much of it."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return shown(cut, lambda c: c.encode("unicode_escape").decode("ascii"))


def short(value: object) -> str:
    """A JSON value in a few words, safe for a terminal however large, deep or hostile it is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{printable(value, 40)}"'
        case list() | tuple():
            return "an empty list" if not value else f"a list of {len(value)}"
        case dict():
            return "an empty object" if not value else f"an object with {listing(value, 4)}"
        case int() if abs(value) >= 10**20:
            return "an integer of more than 20 digits"
        case _:
            try:
                return printable(repr(value), 40)
            except Exception:  # of a class that a program brought along
                return f"a {printable(type(value).__qualname__, 40)}"


def few(words: Iterable[str], most: int = 12) -> list[str]:
    """The first words; where there are more than so many, an ellipsis stands for the others."""
    first = list(itertools.islice(words, most + 1))
    return first if len(first) <= most else [*first[:most], "…"]


def repeated(words: Iterable[str]) -> str | None:
    """The first word that stands twice, or None."""
    seen: set[str] = set()
    for word in words:
        if word in seen:
            return word
        seen.add(word)
    return None


def circle(names: Sequence[str]) -> str:
    """Names with arrows between them, back to the first; of more than 12 the first 10, the last and their number."""
    if len(names) <= 12:
        return " → ".join((*names, names[0]))
    return " → ".join((*names[:10], "…", names[-1], names[0])) + f" ({len(names)} in all)"


def listing(words: Iterable[object], most: int = 12) -> str:
    """The first words in quotes, separated by commas."""
    return ", ".join(few((f"'{printable(str(word), 60)}'" for word in words), most))


def nearest(word: str, known: Collection[str], least: float = 0.6) -> str:
    """A clause that suggests the nearest right spelling, or ""; looks at no more than a thousand candidates.

    Args:
        word: what was written.
        known: the right spellings.
        least: how like the word one must be, as difflib measures it: 1 for the word itself.
    """
    candidates = list(itertools.islice((k for k in known if abs(len(k) - len(word)) <= 3), 1000))
    exchanged = [k for k in candidates if sorted(k) == sorted(word)]  # two letters in the wrong order
    # Among words that are equally like it, one that begins with the same letters: those are rarely missed.
    found = exchanged or sorted(difflib.get_close_matches(word, candidates, n=3, cutoff=least), reverse=True, key=(
        lambda k: (difflib.SequenceMatcher(None, word, k).ratio(), k[:2] == word[:2])))
    if not found:
        folded = {k.casefold().replace("_", ""): k for k in itertools.islice(known, 1000)}
        found = [folded[key]] if (key := word.casefold().replace("_", "")) in folded else []
    return f"; did you mean '{found[0]}'?" if found else ""
