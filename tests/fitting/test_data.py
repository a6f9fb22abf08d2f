"""Columns of every kind are the numbers that they say; a result with its data can be copied."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import circuitflow as cf

X = np.arange(8.0)
Y = np.array([1.0, 2.9, 5.2, 7.1, 8.8, 11.1, 13.2, 14.7])
RIGHT = np.polyfit(X, Y, 1)


@pytest.fixture(scope="module")
def line():
    return cf.new("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, parameters=["m", "k"])


def rows():
    return iter([{"x": X[:3], "y": Y[:3]}, {"x": X[:0], "y": Y[:0]}, {"x": X[3:], "y": Y[3:]}])


def arrow(kind):
    pa = pytest.importorskip("pyarrow")
    if kind == "chunked":
        return pa.chunked_array([X[:3], X[3:3], X[3:]])
    if kind == "dictionary":
        return pa.chunked_array([pa.array(X[:4]).dictionary_encode(), pa.array(X[4:]).dictionary_encode()])
    return pa.array([Decimal(int(x)) for x in X])


@pytest.mark.parametrize("column", [
    np.stack([X, Y]).T[:, 0], np.asfortranarray(np.stack([X, Y]).T)[:, 0], X[::-1][::-1], X.astype(">f8"),
    X.astype(np.float16), X.astype(np.longdouble), X.astype(np.uint8), X.astype(object), range(8), tuple(X),
    np.ma.array(X), [Decimal(int(x)) for x in X], [Fraction(int(x)) for x in X], [False, *X[1:]],
    "chunked", "dictionary", "decimal"], ids=repr)
def test_a_column_is_the_numbers_that_it_says(line, column):
    found = cf.fit(line, {"x": arrow(column) if isinstance(column, str) else column, "y": Y})
    np.testing.assert_allclose(found.x, RIGHT, rtol=1e-12)


def pandas_frames(pd):
    frame = pd.DataFrame({"x": X, "y": Y})
    return [frame.set_index(pd.Index(list("hgfedcba"))), frame.astype("Float64"),
            frame.assign(x=frame.x.astype("Int64")), frame.assign(x=frame.x.astype("category")),
            frame.convert_dtypes(dtype_backend="pyarrow")]


def test_frames_with_an_index_nullable_numbers_and_categories(line):
    for frame in pandas_frames(pytest.importorskip("pandas")):
        np.testing.assert_allclose(cf.fit(line, frame).x, RIGHT, rtol=1e-12)


def test_a_missing_value_is_missing_in_every_dtype(line):
    pd = pytest.importorskip("pandas")
    for dtype in ("Float64", "Int64", "object", "float64[pyarrow]"):
        frame = pd.DataFrame({"x": X, "y": Y}).astype({"x": dtype})
        frame.loc[3, "x"] = pd.NA
        with pytest.raises(cf.InputError, match="column 'x' is missing: NaN or null in row 4"):
            cf.fit(line, frame)


def test_vectors_of_every_kind_are_the_numbers_that_they_say():
    pa, pd, pl = (pytest.importorskip(name) for name in ("pyarrow", "pandas", "polars"))
    circuit = cf.new("r = y - reduce_sum(x*w)", {"w": [0.0, 0.0]}, parameters=["w"], shapes={"x": [2]})
    x = np.stack([X, np.ones(8)], axis=1)
    fixed = pa.FixedSizeListArray.from_arrays(x.ravel(), 2)
    for column in (np.asfortranarray(x), x.tolist(), list(x), pd.Series(x.tolist()), pd.Series(list(x)), pl.Series(x),
                   pl.Series(x.tolist()), fixed, pa.chunked_array([fixed.slice(0, 3), fixed.slice(3)]),
                   pa.array(x.tolist()), pa.FixedShapeTensorArray.from_numpy_ndarray(x)):
        np.testing.assert_allclose(cf.fit(circuit, {"x": column, "y": Y}).x, RIGHT, rtol=1e-12)
    for items in ([[1.0, 2.0], None, *x[2:].tolist()], [[1.0, 2.0], [1.0, None], *x[2:].tolist()]):
        with pytest.raises(cf.InputError, match="column 'x' is missing: NaN or null in row 2"):
            cf.fit(circuit, {"x": pa.array(items, pa.list_(pa.float64(), 2)), "y": Y})


def test_tensors_of_torch_are_the_numbers_that_they_say(line):
    torch = pytest.importorskip("torch")
    for x in (torch.tensor(X, requires_grad=True), torch.tensor(X).bfloat16(), torch.tensor(X).int()):
        np.testing.assert_allclose(cf.fit(line, {"x": x, "y": torch.tensor(Y)}).x, RIGHT, rtol=1e-12)


def test_a_structured_array_and_an_archive_have_columns(line, tmp_path):
    np.savez(tmp_path / "rows.npz", x=X, y=Y)
    with np.load(tmp_path / "rows.npz") as archive:
        for table in (np.rec.fromarrays([X, Y], names="x,y"), archive):
            np.testing.assert_allclose(cf.fit(line, table).x, RIGHT, rtol=1e-12)


def test_columns_of_one_name_are_refused(line):
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    for table in (pd.DataFrame(np.stack([X, X, Y], 1), columns=["x", "x", "y"]),
                  pa.table([X, X, Y], names=["x", "x", "y"])):
        with pytest.raises(cf.InputError, match="column 'x' stands twice; rename one of the two"):
            cf.fit(line, table)
    twice = pa.table([X, Y, X, X], names=["x", "y", "z", "z"])
    np.testing.assert_allclose(cf.fit(line, twice).x, RIGHT, rtol=1e-12)


def test_a_lazy_frame_is_not_run(line):
    lazy = pytest.importorskip("polars").DataFrame({"x": X, "y": Y}).lazy()
    with pytest.raises(cf.InputError, match=r"expected a mapping from column to array, .*; call its collect\(\)"):
        cf.fit(line, lazy)


def test_one_value_for_all_rows_is_the_same_in_every_block():
    circuit = cf.new("r = y - m*x*s", {"m": 0.0}, parameters=["m"])
    blocks = [{"x": X[:3], "y": Y[:3], "s": 2.0}, {"x": X[3:], "y": Y[3:], "s": 2}]
    assert cf.fit(circuit, blocks).x == pytest.approx(X @ Y / (X @ X) / 2)
    blocks[1]["s"] = 3.0
    with pytest.raises(cf.InputError, match="column 's' has one value for all rows, and another in the block after"):
        cf.fit(circuit, blocks)


def test_a_number_beyond_single_precision_is_refused():
    nodes = [{"id": name, "gate": "input", "dtype": "float32"} for name in "xy"]
    nodes += [{"id": "m", "gate": "parameter", "value": 0.0, "dtype": "float32"},
              {"id": "f", "gate": "mul", "inputs": ["m", "x"]}, {"id": "r", "gate": "sub", "inputs": ["y", "f"]}]
    circuit = cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": ["r"]}))
    with pytest.raises(cf.InputError, match=r"column 'x' is 1e\+300 in row 3, more than float32 holds"):
        cf.fit(circuit, {"x": np.where(X == 2, 1e300, X), "y": Y})


@pytest.mark.parametrize("kind", ["arrays", "blocks", "file", "document"])
def test_a_result_can_be_copied_with_its_data(line, tmp_path, kind):
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in zip(X, Y, strict=True)), "utf-8")
    (tmp_path / "c.json").write_text(json.dumps({
        "circuitflow": "1.1", "nodes": line.document.model_dump(mode="json", exclude_unset=True)["nodes"],
        "outputs": ["r"], "fit": {"data": {"file": "rows.csv"}, "residuals": "r"}}), "utf-8")
    circuit = cf.load(tmp_path / "c.json") if kind == "document" else line
    found = cf.fit(circuit, {"arrays": {"x": X, "y": Y}, "blocks": list(rows()), "file": tmp_path / "rows.csv",
                             "document": None}[kind])
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), copy.copy(found)):
        np.testing.assert_array_equal(again.error_of(), found.error_of())
        assert again.data.digest == found.data.digest
        assert again.summary() == found.summary()


def test_a_pickle_has_no_function_of_the_caller(line):
    found = cf.fit(line, lambda: rows())
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict({"x": X}), found.predict())
    with pytest.raises(cf.InputError, match="came from a function, and a pickle has no functions; give rows by data=…"):
        again.predict()
    np.testing.assert_array_equal(copy.deepcopy(found).predict(), found.predict())
