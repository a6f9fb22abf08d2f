"""Safetensors files as tables: rows in blocks, and what is refused."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from safetensors.numpy import save

import circuitflow as cf
from circuitflow.document.limits import DEFAULT
from circuitflow.fitting.files import TableFile

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
TENSORS = {"x": X, "n": np.arange(4), "one": np.array(1.0), "short": np.arange(3)}


def read(path, names=("x", "n"), limits=DEFAULT):
    return TableFile.at([path], limits).batches(dict.fromkeys(names, "float64"))


def test_rows_come_in_blocks_and_columns_have_names(tmp_path, monkeypatch):
    (tmp_path / "t.safetensors").write_bytes(save(TENSORS, {"by": "hand"}))
    monkeypatch.setattr("circuitflow.tables.tensors.BYTES", 100)  # a row has 32
    table = TableFile.at([tmp_path / "t.safetensors"], DEFAULT)
    assert sorted(table.columns) == sorted(TENSORS)
    blocks = list(read(tmp_path / "t.safetensors"))
    assert [len(block["n"]) for block in blocks] == [3, 1]
    assert np.array_equal(np.concatenate([block["x"] for block in blocks]), X)
    assert np.concatenate([block["n"] for block in blocks]).tolist() == [0, 1, 2, 3]


def half(content):
    """The file with a tensor of a dtype that circuitflow does not have."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size]) | {"b": {"dtype": "BF16", "shape": [4], "data_offsets": [
        len(content) - 8 - size, len(content) - size]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :] + bytes(8)


@pytest.mark.parametrize(("change", "names", "limit", "message"), [
    (lambda content: content, ["x", "short"], 2**20, "tensors of different lengths: 'x' has 4, 'short' has 3"),
    (lambda content: content, ["one"], 2**20, "tensor 'one' has no axis; expected that of the rows in front"),
    (half, ["b"], 2**20, "tensor 'b' is BF16; expected one of 'float64'"),
    (lambda content: content, ["z"], 2**20, "there is no column 'z'"),
    (lambda content: content[:-8], ["x"], 2**20, "it is not a safetensors file, or is damaged"),
    (lambda content: b"", ["x"], 2**20, "it is not a safetensors file, or is damaged"),
    (lambda content: content, ["x"], 64, "at most 64 bytes are read (limit header_bytes)"),
])
def test_what_is_no_table_is_refused(change, names, limit, message, tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(change(save(TENSORS)))
    with pytest.raises(cf.InputError, match=re.escape(message)):
        list(read(path, names, cf.Limits(header_bytes=limit)))


def test_a_file_that_is_cut_short_meanwhile_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    path.write_bytes(save({"x": np.zeros((4000, 40))}))
    monkeypatch.setattr("circuitflow.tables.tensors.BYTES", 320_000)
    blocks = read(path, ["x"])
    next(blocks)
    os.truncate(path, 400_000)
    with pytest.raises(cf.InputError, match="the file was cut short while it was read; fit again when"):
        list(blocks)
