"""The data of a fit: columns by input, in memory or block by block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np

from circuitflow.document.fit import DataFile
from circuitflow.errors import InputError
from circuitflow.fitting.files import TableFile
from circuitflow.fitting.tabular import column, column_names, hint, is_table
from circuitflow.gates.shapes import Size, show
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import cut, joined
from circuitflow.tables.spans import Span
from circuitflow.text import duplicate, listing, nearest, printable, short

BLOCK_BYTES = 2**20
"""About how many bytes the columns of a block of rows take: what is computed of them stays in the cache."""


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows.

    Attributes:
        first: the number of rows before it.
        rows: how many it has; 1 where the circuit has no columns.
        columns: their values by input id; the first axis is that of the rows.
    """

    first: int
    rows: int
    columns: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Data:
    """Values of inputs: those that differ from row to row, and those that are the same in all.

    A circuit of one row takes a column of the shape (rows, *shape of the input). A circuit of a batch declares its
    inputs with a dimension that has a name, such as N, in front of all others; its columns have the input's own shape.
    An input that is neither has a value for all rows, from the data or from the document.

    Attributes:
        batch: the name of the leading dimension of a circuit of a batch; "" for a circuit of one row.
        columns: input id → name of the column, for the inputs that differ from row to row.
        fixed: values for all rows, by input id, from the data.
        in_memory: whether all rows are in memory.
        file: the table in files; None where they are elsewhere.
    """

    batch: str
    columns: Mapping[str, str]
    fixed: Mapping[str, Any]
    in_memory: bool
    file: TableFile | None
    _dtypes: Mapping[str, str]
    _shapes: Mapping[str, tuple[Any, ...]]
    _titles: Mapping[str, str]
    _tables: Callable[[], Iterator[Any]]

    @classmethod
    def of(cls, circuit: Circuit, data: Any = None, columns: Mapping[str, str] | None = None, *,
           needed: Collection[str] | None = None) -> Data:
        """Bind data to the inputs of a circuit.

        Args:
            circuit: the circuit.
            data: a mapping from column to array; a table of pyarrow, pandas or polars; a list of them; a function that
                returns an iterator over them, called anew for every pass; or the path of a file, or an entry of the
                document that names one, read block by block. None where the document names a file, or has all values.
            columns: input id → column; an input without an entry takes the column of its own name.
            needed: the inputs to bind; all by default.

        Raises:
            InputError: there is no such input or column, an input has no value, a shape is wrong, there are no rows, or
                an iterator can be read only once.
        """
        columns = columns or {}
        inputs = {name: node.types[0] for name, node in circuit.nodes.items() if node.kind == "input"}
        for name in columns:
            if name not in inputs:
                raise InputError(f"columns: there is no input '{printable(name, 60)}'"
                                 f"{nearest(name, inputs) or f'; the inputs are {listing(inputs) or None}'}")
        inputs = {name: type_ for name, type_ in inputs.items() if needed is None or name in needed}
        table = _file(circuit, data)
        tables, in_memory = _tables(None if table is not None else data)
        first = next(tables(), None)
        if first is None:
            raise InputError("data: there are no rows; expected a block of rows, or more")
        names = table.columns if table is not None else column_names(first)
        taken = {name: columns.get(name, name) for name in inputs if name in columns or name in names}
        for name, title in taken.items():
            if title not in names:
                raise InputError(f"data: there is no column '{printable(title, 60)}' for input '{name}'"
                                 f"{nearest(title, names) or _columns_in_words(names)}")
        twice = duplicate(name for name in names if name in taken.values())
        if twice is not None and table is None:
            raise InputError(f"data: column '{printable(twice, 60)}' stands twice; rename one of the two")
        missing = [name for name in inputs if name not in taken and name not in circuit.values]
        if missing:
            raise InputError(f"data: there is no column for input '{missing[0]}', and the document has no value for it"
                             f"{nearest(missing[0], names) or _columns_in_words(names)}" + (
                                 f"; name its column by columns={{'{missing[0]}': …}}" if names else ""))
        if table is not None:
            dtypes = {title: inputs[name].dtype for name, title in taken.items()}
            tables, in_memory = partial(table.batches, dtypes), False
            first = next(tables(), None)
            if first is None:
                raise InputError(f"{table.shown}: there are no rows; expected one or more")
        leading = {str(type_.shape[0]) for name in taken if (type_ := inputs[name]).shape
                   and isinstance(type_.shape[0], Size)}
        if len(leading) > 1:
            raise InputError(f"data: the inputs have the leading dimensions {listing(sorted(leading))}; expected one "
                             "name, that of the rows of the batch")
        batch = next(iter(leading), "")
        varying, fixed, titles = {}, {}, {}
        for name, title in taken.items():
            type_ = inputs[name]
            array = column(first, title, type_.dtype)
            depth = len(type_.shape)
            if str(type_.shape[0]) == batch if batch and depth else not batch and array.ndim == depth + 1:
                varying[name] = title
            elif array.ndim == depth and all(size == expected for size, expected in
                                             zip(array.shape, type_.shape, strict=True) if isinstance(expected, int)):
                fixed[name], titles[name] = array, title
            else:
                rows = "" if batch else f"{show(('rows', *type_.shape))}, or "
                raise InputError(f"data: column '{printable(title, 60)}' has shape {array.shape}; input '{name}' has "
                                 f"shape {show(type_.shape)}, so expected {rows}that shape for all rows")
        if fixed and not varying and any(True for _ in islice(tables(), 1, None)):
            raise InputError("data: there are several blocks, each with one value of "
                             f"{listing(sorted(titles.values()))}; expected arrays with the rows in front")
        bound = cls(batch, varying, fixed, in_memory, table, {name: inputs[name].dtype for name in taken},
                    {name: tuple(inputs[name].shape) if batch else (None, *inputs[name].shape) for name in varying},
                    titles, tables if varying else _no_columns)
        if in_memory:
            next(bound.blocks())  # refuses what is wrong in any of them
        return bound

    @property
    def over_rows(self) -> bool:
        """Whether the circuit is of one row, and the columns have many."""
        return bool(self.columns) and not self.batch

    def only(self, inputs: Collection[str]) -> Data:
        """The same data for some of the inputs."""
        columns = {name: title for name, title in self.columns.items() if name in inputs}
        return replace(self, columns=columns, _tables=self._tables if columns else _no_columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> Data:
        """Data is not changed, so a copy shares it."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle has: tables in memory, or the path of a file. Of a function it has nothing."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_held", "_known")}

    @cached_property
    def rows(self) -> int:
        """The number of rows, counted by a pass where they are not in memory; 1 without columns."""
        return sum(block.rows for block in self.blocks())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers that the inputs take, by input and in order of rows, however they come in blocks."""
        digests = {name: hashlib.sha256() for name in sorted(self.columns)}
        for block in self.blocks():
            for name, digest in digests.items():
                digest.update(np.ascontiguousarray(block.columns[name]).tobytes())
        whole = hashlib.sha256()
        for name, digest in digests.items():
            whole.update(f"{name} {self._dtypes[name]} {digest.hexdigest()}\n".encode())
        for name, value in sorted(self.fixed.items()):
            whole.update(f"{name} = {value.dtype} {value.shape} ".encode() + value.tobytes())
        return whole.hexdigest()

    def blocks(self) -> Iterator[Block]:
        """The rows in order, in blocks that stay in the cache.

        Where they end depends on the rows alone, not on the tables that bring them. A circuit of a batch has a block
        for each table, because its rows may depend on one another.

        Raises:
            InputError: a column is missing in a table, or has another shape or what is no number.
        """
        tables = self._held if self.in_memory else self._pass()
        return _cut_anew(tables, _rows_of_block) if self.over_rows else iter(tables)

    @property
    def block_rows(self) -> int:
        """How many rows a block has, over rows.

        Raises:
            InputError: see `blocks`.
        """
        return _rows_of_block(next(table for table in self._pass() if table.rows))

    def blocks_of(self, span: Span, rows: int) -> Iterator[Block]:
        """The blocks of a span of files, which begins with one.

        Args:
            span: the span.
            rows: `block_rows`.

        Raises:
            InputError: see `blocks`.
        """
        assert self.file is not None  # noqa: S101
        dtypes = {title: self._dtypes[name] for name, title in [*self.columns.items(), *self._titles.items()]}
        return _cut_anew(self._blocks(self.file.batches(dtypes, span), span.first), lambda _: rows, span.first)

    def set_rows(self, rows: int) -> None:
        """Take the number of rows from who has counted them."""
        vars(self)["rows"] = rows

    @cached_property
    def _held(self) -> list[Block]:
        """The tables in memory, read once."""
        return list(self._pass())

    def _pass(self) -> Iterator[Block]:
        """Table after table; those without rows are left out.

        Raises:
            InputError: there are no rows, or not as many as in the pass before.
        """
        first = 0
        for block in self._blocks(self._tables(), 0):
            yield block
            first += block.rows
        known = self.__dict__.setdefault("_known", first)
        if first != known:
            raise InputError(f"data: one pass had {known} rows and another has {first}; a function that gives data "
                             "must begin anew, and give the same rows, each time that it is called")
        if not first:
            raise InputError("data: there are no rows; expected one or more, in every pass over them")

    def _blocks(self, tables: Iterable[Any], first: int) -> Iterator[Block]:
        """Each table with rows, the first of which has a number."""
        for table in tables:
            block = self._read(table, first)
            if block.rows:
                yield block
            first += block.rows

    def _read(self, table: Any, first: int) -> Block:
        if not self.columns:
            return Block(0, 1, {})
        names, columns, lengths = column_names(table), {}, {}
        for name, title in self._titles.items():
            if title in names and not np.array_equal(column(table, title, self._dtypes[name], first), self.fixed[name]):
                raise InputError(f"data: column '{printable(title, 60)}' has one value for all rows, and another in "
                                 f"the block after row {first}; expected an array with the rows in front")
        for name, title in self.columns.items():
            if title not in names:
                raise InputError(f"data: the block after row {first} has no column '{printable(title, 60)}'; expected "
                                 f"the columns of the first, {listing(self.columns.values())}")
            array = column(table, title, self._dtypes[name], first)
            shape = self._shapes[name]
            if array.ndim != len(shape) or any(isinstance(expected, int) and i and expected != size for i, (
                    expected, size) in enumerate(zip(shape, array.shape, strict=True))):
                raise InputError(f"data: column '{printable(title, 60)}' has shape {array.shape}; expected "
                                 f"{show(('rows', *shape[1:]))} for input '{name}'")
            columns[name], lengths[name] = array, len(array)
        if len(set(lengths.values())) > 1:
            raise InputError("data: columns of different lengths: "
                             + ", ".join(f"'{name}' has {length}" for name, length in lengths.items()))
        return Block(first, next(iter(lengths.values())), columns)


def _rows_of_block(table: Block) -> int:
    """How many rows a block has, by the width of a row."""
    width: int = sum(x.nbytes // table.rows for x in table.columns.values())
    return max(BLOCK_BYTES // max(width, 1), 1)


def _cut_anew(tables: Iterable[Block], rows_of_block: Callable[[Block], int], first: int = 0) -> Iterator[Block]:
    """The same rows in blocks of one size, the first of which has a number; the last may be smaller."""
    for parts in cut(tables, rows_of_block):
        rows = sum(part.stop - part.start for _, part in parts)
        yield Block(first, rows, {name: joined([table.columns[name][part] for table, part in parts])
                                  for name in parts[0][0].columns})
        first += rows


def _file(circuit: Circuit, data: Any) -> TableFile | None:
    """The file of the data, if they are in one: the path given, or without data what the document names."""
    if isinstance(data, DataFile):
        return TableFile.of(circuit, data)
    if isinstance(data, str | os.PathLike):
        return TableFile.at([data], circuit.limits)
    if isinstance(data, list | tuple) and data and all(isinstance(path, str | os.PathLike) for path in data):
        return TableFile.at(data, circuit.limits)
    fit = circuit.document.fit
    return TableFile.of(circuit, fit.data) if data is None and fit is not None and fit.data is not None else None


NO_DATA = ("there are no data; give a table, as in `circuitflow fit FILE DATA`, or name one by `data` under the "
           "document's key `fit`")


def _columns_in_words(names: Collection[str]) -> str:
    return f"; the columns are {listing(names)}" if names else f"; {NO_DATA}"


def _tables(data: Any) -> tuple[Callable[[], Iterator[Any]], bool]:
    """A function that begins a pass over the tables, and whether they are in memory."""
    if data is None:
        return _no_columns, True
    if is_table(data):
        return partial(_checked, [data]), True
    if callable(data):
        return _Called(data), False
    if isinstance(data, Iterator):
        raise InputError("data is an iterator, which can be read only once, and a fit reads it many times; give a "
                         "function that makes it, such as lambda: read_batches(path), or a list of its batches")
    if isinstance(data, Iterable) and not isinstance(data, bytes):
        return partial(_checked, data), isinstance(data, list | tuple)
    raise InputError(f"data is {short(data)}; expected a mapping from column to array, a table of pyarrow, pandas or "
                     f"polars, a list of them, a function that returns an iterator over them, or a path{hint(data)}")


def _no_columns() -> Iterator[Any]:
    """One table without columns."""
    return iter([{}])


@dataclass(frozen=True)
class _Called:
    """A function of the caller that gives tables. A pickle does not have it."""

    function: Callable[[], Any]

    def __call__(self) -> Iterator[Any]:
        try:
            tables = self.function()
        except TypeError as error:
            raise InputError(f"data is the function {short(self.function)}, which fails: {printable(str(error))}; "
                             "expected one without arguments") from error
        if is_table(tables) or not isinstance(tables, Iterable) or isinstance(tables, str | bytes):
            raise InputError(f"data: the function gives {short(tables)}; expected an iterator over mappings from "
                             "column to array, or over tables of pyarrow, pandas or polars")
        return _checked(tables)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Called, (_refuse_lost,)


def _refuse_lost() -> Any:
    raise InputError("data: these came from a function, and a pickle has no functions; give rows by data=…")


def _checked(batches: Any) -> Iterator[Any]:
    for batch in batches:
        if not is_table(batch):
            raise InputError(f"data: {short(batch)} is one of the batches; expected a mapping from column to array, or "
                             f"a table of pyarrow, pandas or polars{hint(batch)}")
        yield batch
