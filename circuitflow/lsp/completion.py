"""What can be written at a place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types

from circuitflow.lsp import keys
from circuitflow.lsp.syntax import Cursor, Value, cursor
from circuitflow.lsp.text import Text
from circuitflow.text import is_shown, printable

_KINDS = {
    "key": types.CompletionItemKind.Property,
    "gate": types.CompletionItemKind.Function,
    "node": types.CompletionItemKind.Variable,
    "circuit": types.CompletionItemKind.Module,
    "port": types.CompletionItemKind.Field,
    "word": types.CompletionItemKind.EnumMember,
    "literal": types.CompletionItemKind.Keyword,
    "file": types.CompletionItemKind.File,
}
_FILES = {"circuits": (".json",), "nodes": (".safetensors",), "upstream": (".safetensors",),
          "fit": (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".safetensors")}
"""The files that a part of a document may name, by their suffixes."""

MOST_CHOICES = 500
"""The most words that are offered at once. Of more, only those that contain what is typed."""

LONGEST = 300
"""The most characters of a word that is offered."""


def complete(text: Text, position: types.Position) -> types.CompletionList:
    """The keys or words that may stand at a position.

    Args:
        text: the document.
        position: of the cursor.
    """
    here = cursor(text.tree, text.offset(position))
    if here is None:
        return types.CompletionList(is_incomplete=False, items=[])
    choices = [choice for choice in (_keys(text, here) if here.is_key else _words(text, here))
               if len(choice.word) <= LONGEST and is_shown(choice.word)]
    is_incomplete = len(choices) > MOST_CHOICES
    if is_incomplete:
        typed = text.source[here.old.start + 1 : text.offset(position)] if here.old else ""
        choices = [choice for choice in choices if typed in choice.word][:MOST_CHOICES]
    items = [_item(text, here, choice, at, position) for at, choice in enumerate(choices)]
    return types.CompletionList(is_incomplete, items)


def _keys(text: Text, here: Cursor) -> Iterator[keys.Choice]:
    used = {member.name for member in here.container.members if member is not here.member}
    seen = set(used)
    for choice in keys.keys(text, here.container):
        if choice.word not in seen:
            seen.add(choice.word)
            yield choice


def _words(text: Text, here: Cursor) -> Iterator[keys.Choice]:
    if here.path[-1] == "file" and text.folder is not None:
        yield from _files(text.folder, str(next((step for step in here.path if step in _FILES), "")))
    yield from keys.words(text, here.path)


def _files(folder: Path, part: str) -> Iterator[keys.Choice]:
    """The files beside a document, by name."""
    try:
        entries = sorted(entry.name for entry in folder.iterdir() if entry.suffix in _FILES.get(part, ()))
    except OSError:
        return
    yield from (keys.Choice(name, "file") for name in entries)


def _item(text: Text, here: Cursor, choice: keys.Choice, at: int, position: types.Position) -> types.CompletionItem:
    quoted = choice.word if choice.kind == "literal" else json.dumps(choice.word, ensure_ascii=False)
    new = quoted + ": " * (here.is_key and (here.member is None or here.member.colon is None))
    return types.CompletionItem(
        label=choice.word, kind=_KINDS[choice.kind], detail=printable(choice.detail) or None,
        documentation=choice.meaning or None,
        sort_text=f"{at:05}", filter_text=quoted,
        text_edit=types.TextEdit(_range(text, here.old, position), new))


def _range(text: Text, old: Value | None, position: types.Position) -> types.Range:
    """What a choice replaces: the word that is there, on its line."""
    if old is None or old.kind not in ("text", "word"):
        return types.Range(position, position)
    return text.range(old.start, old.end)
