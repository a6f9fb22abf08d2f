"""Tensors as the content of a safetensors file."""

import hashlib
import io
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load

from circuitflow.onnx.storing import FORMAT_OF_DTYPE, TensorContent


@pytest.mark.parametrize("dtype", FORMAT_OF_DTYPE)
def test_content_is_what_the_package_reads(dtype: str) -> None:
    tensors = {"b": np.arange(6).reshape(2, 3).astype(dtype), "a": np.ones(3, np.int8), "c": np.asarray(1, dtype),
               "none": np.empty((0, 2), dtype), "T": np.arange(6).reshape(2, 3).astype(dtype).T}
    file, content = io.BytesIO(), TensorContent(tensors)
    content.write(file)
    again = load(file.getvalue())
    assert again.keys() == tensors.keys()
    for name, array in tensors.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)
    assert content.sha256 == hashlib.sha256(file.getvalue()).hexdigest()


def test_tensors_are_not_copied() -> None:
    tensors = {"x": np.ones(10**6)}
    with open("/dev/null", "wb") as file:
        tracemalloc.start()
        TensorContent(tensors).write(file)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 10**6
