"""Matches columns to inputs, strictly by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from circuitflow.errors import InputError
from circuitflow.gates.shapes import Shape, show
from circuitflow.graph.typed import Node
from circuitflow.rows.task import RowTask
from circuitflow.tables.reader import Reader, Selection
from circuitflow.text import duplicate, listing, nearest, printable


class Match(NamedTuple):
    """The columns of a table that a task takes.

    Attributes:
        selection: the columns to read.
        lengths: the lengths of the lists in each row, by input, as `Reader.lengths` has them.
        unread: the other columns in words, or "".
    """

    selection: Selection
    lengths: Mapping[str, Sequence[int | None]]
    unread: str


def match_columns(task: RowTask, reader: Reader, table: str) -> Match:
    """Find the columns of a table.

    Blanks around the name of a column do not count. An input with axes takes a column of lists.

    Args:
        task: the task; the sources that its question needs must have columns or values.
        reader: the table.
        table: where the rows come from, in words.

    Raises:
        InputError: an input has no column and no value, or a column of another shape; a column stands twice, or is
            missing.
    """
    circuit, fixed, keep = task.executor.circuit, task.inputs, task.keep
    names = [name.strip() for name in reader.names]
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(name, position)
    sources = {name: node for name, node in circuit.nodes.items() if node.is_argument}
    matches = [name for name in sources if name in positions and name not in fixed]
    contents = f"its columns are {listing(names)}" if names else "it has none"
    lengths = {name: reader.lengths(positions[name]) for name in matches}
    for name in matches:
        _need_shape(task, name, sources[name].types[0].shape, lengths[name], table)
    missing = [name for name in task.question.plan.sources if name in sources and name not in positions
               and name not in fixed
               and not ((task.defaults or sources[name].kind == "parameter") and name in circuit.values)]
    if missing:
        inputs = f"input{'s' * (len(missing) > 1)} {listing(missing)}"
        has_default = all(name in circuit.values for name in missing)
        default = f", or the document's by {task.words.defaults}" if has_default else ""
        raise InputError(f"{table}: there is no column for {inputs}{nearest(missing[0], names)}; {contents}; give the "
                         f"same value for every row by {task.words.value.format(missing[0])}{default}")
    if not matches and (columns := [name for name in sources if name in positions]):
        have = "have" if len(columns) > 1 else "has"
        raise InputError(f"{table}: no column is read, since {listing(columns)} {have} the same value in every row; "
                         f"leave out {task.words.value.format(columns[0])}")
    if not matches:
        raise InputError(f"{table}: no column has the name of an input; {contents}, the inputs are "
                         f"{listing(sources) or 'none'}")
    for name in keep:
        if name not in positions:
            raise InputError(f"{table}: there is no column '{printable(name, 60)}' to keep{nearest(name, names)}; "
                             f"{contents}")
    uses = {*matches, *keep}
    if (twice := duplicate(name for name in names if name in uses)) is not None:
        raise InputError(f"{table}: column '{printable(twice, 60)}' stands twice; rename one of the two")
    selection = Selection({name: (positions[name], sources[name].types[0].dtype) for name in matches},
                          [positions[name] for name in keep], _lists(sources, lengths))
    unread = [name for name in positions if name not in uses]
    free = [name for name in sources if name not in positions and name not in fixed]
    words = [_with_nearest(name, free, fixed) for name in unread[:12]]
    return Match(selection, lengths,
                 ", ".join([*words, f"and {len(unread) - 12} more"] if len(unread) > 12 else words))


def _need_shape(task: RowTask, name: str, shape: Shape, lengths: Sequence[int | None], table: str) -> None:
    """Refuse a column whose rows cannot have the shape of the input of its name."""
    if len(lengths) == len(shape) and all(length is None or not isinstance(size, int) or length == size
                                          for length, size in zip(lengths, shape, strict=True)):
        return
    row = ("one number" if not lengths else f"{len(lengths)} level{'s' * (len(lengths) > 1)} of lists"
           if None in lengths else f"lists of shape {show([length or 0 for length in lengths])}")
    remedy = ("write the circuit for one example, with a scalar input for each column" if not lengths else
              "take the numbers apart into columns" if not shape else "write the circuit for one example")
    lists = f"write lists of that shape into a .parquet or .arrow file, {remedy}" if shape and not lengths else remedy
    raise InputError(f"{table}: column '{name}' has {row} in each row, and input '{name}' "
                     f"{f'has shape {show(shape)}' if shape else 'is one number'}; {lists}, or give '{name}' by "
                     f"{task.words.value.format(name)}, the same for every row")


def _lists(sources: Mapping[str, Node], lengths: Mapping[str, Sequence[int | None]]) -> dict[str, list[int | None]]:
    """For each input that is read of lists, their lengths by level, where input or column tell."""
    return {name: [size if isinstance(size, int) else length
                   for size, length in zip(sources[name].types[0].shape, levels, strict=True)]
            for name, levels in lengths.items() if levels}


def _with_nearest(name: str, free: Sequence[str], fixed: Collection[str]) -> str:
    label = f"'{printable(name, 60)}'"
    if name in fixed:
        return f"{label} (its value is given)"
    return label + (f" ({clause[2:]})" if (clause := nearest(name, free)) else "")
