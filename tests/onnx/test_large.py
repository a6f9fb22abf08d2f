"""Large tensors of a model file: read from their places, they are what the package onnx reads."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.onnx import large
from circuitflow.onnx.large import without_large
from circuitflow.onnx.reading import read_model
from support.onnx_models import model, port, tensor

DecodeError = pytest.importorskip("google.protobuf.message", reason="onnx brings it").DecodeError


@pytest.fixture(autouse=True)
def _few_bytes(monkeypatch):
    """So that 64 bytes are large."""
    monkeypatch.setattr(large, "LARGE", 64)


def sums(*tensors):
    """A model that adds tensors to x."""
    return model([("Sum", ",".join(["x", *(t.name for t in tensors)]), "y")], [port("x", "n")], [port("y", "n")],
                 tensors)


MIXED = sums(tensor("small", np.arange(15)), tensor("large", np.arange(16)),
             tensor("halves", np.arange(32), np.float16), tensor("yes", np.arange(64) % 3, bool),
             TensorProto(name="listed", data_type=1, dims=[40], float_data=range(40)),
             tensor("last", np.arange(500)))


def field(number, content):
    """A field of bytes, its length in two bytes of seven bits."""
    return bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


def split(content):
    return without_large(io.BufferedReader(io.BytesIO(content)), len(content))


@pytest.mark.parametrize("form", ["plain", "two graphs", "two contents", "two contents, the last small"])
def test_what_is_read_is_what_the_package_reads(tmp_path, form):
    content = MIXED.SerializeToString()
    if form == "two graphs":  # which are one, as protobuf merges fields
        graph = onnx.GraphProto(initializer=[tensor("more", np.arange(99))])
        content += onnx.ModelProto(graph=graph).SerializeToString()
    elif form.startswith("two contents"):
        n = 5 if form.endswith("small") else 30
        one = tensor("w", np.arange(20)).SerializeToString()
        one += onnx.TensorProto(dims=[], raw_data=np.full(n, 7, "<f4").tobytes()).SerializeToString()
        content += field(7, field(5, one))
    expected = onnx.ModelProto.FromString(content).graph.initializer
    rest, places = split(content)
    assert [bytes(places[i].read()) if i in places else t.raw_data
            for i, t in enumerate(onnx.ModelProto.FromString(rest).graph.initializer)] == [
        t.raw_data for t in expected]
    assert {i for i, t in enumerate(expected) if len(t.raw_data) >= 64} == places.keys()
    assert len(rest) < len(content) - 2000
    if form in ("plain", "two graphs"):
        (tmp_path / "m.onnx").write_bytes(content)
        tensors = read_model(tmp_path / "m.onnx").graph.tensors
        for t in expected:
            np.testing.assert_array_equal(tensors[t.name], onnx.numpy_helper.to_array(t), strict=True)


@pytest.mark.parametrize("change", [b"\x0b", b"\x3a\xff", b"\x3a", b"\x80" * 11, b"\x3a" + b"\xff" * 8 + b"\x7f",
                                    b"\0\0", b"\2\0"])
def test_what_is_not_understood_is_left_to_the_parser(change):
    content = MIXED.SerializeToString()
    for damaged in (content + change, change + content, content[:-3]):
        assert split(damaged) == (damaged, {})


def test_a_file_of_very_many_fields_is_left_to_the_parser(monkeypatch):
    """Which takes a fraction of the time: a file may be all fields of two bytes."""
    content = MIXED.SerializeToString()
    assert split(content)[1]
    monkeypatch.setattr(large, "MOST", 30)
    for many in (content + b"\x08\x01" * 30, b"\x3a\x00" * 30 + content, content + field(7, b"\x2a\x00" * 64)):
        assert split(many) == (many, {})


def test_every_damaged_byte_gives_what_the_parser_gives():
    """Or neither reads it: the walk never makes another model of a file."""
    content = bytearray(sums(tensor("w", np.arange(16))).SerializeToString())
    for i in range(len(content)):
        for change in (1, 7, 128):
            damaged = bytearray(content)
            damaged[i] ^= change
            rest, places = split(bytes(damaged))
            try:
                expected = onnx.ModelProto.FromString(bytes(damaged)).graph.initializer
            except DecodeError:
                with pytest.raises(DecodeError):
                    onnx.ModelProto.FromString(rest)
                continue
            found = onnx.ModelProto.FromString(rest).graph.initializer
            for k, place in places.items():
                found[k].raw_data = bytes(place.read())
            assert [*found] == [*expected]


def test_a_file_that_becomes_shorter_is_refused_by_tensor(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    content = MIXED.SerializeToString()
    path.write_bytes(content)

    def shortened(file, size):
        result = without_large(file, size)
        path.write_bytes(content[:1500])
        return result

    monkeypatch.setattr("circuitflow.onnx.reading.without_large", shortened)
    (fault,) = read_model(path).graph.faults
    assert "initializer 'last' has" in fault
    assert "its shape (500,) says 2000" in fault


def test_a_content_of_another_size_than_the_shape_is_refused(tmp_path):
    wrong = TensorProto(name="w", data_type=1, dims=[40], raw_data=bytes(64))
    (tmp_path / "m.onnx").write_bytes(sums(wrong).SerializeToString())
    (fault,) = read_model(tmp_path / "m.onnx").graph.faults
    assert fault == "initializer 'w' has 64 bytes; its shape (40,) says 160"


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(MIXED.SerializeToString())
    with pytest.raises(InputError, match="limit document_bytes"):
        read_model(path, Limits.of(document_bytes=100))
