"""Bad input to a fit: one error each, which names the place and the remedy."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from functools import partial

import numpy as np
import pytest

import circuitflow as cf

T, Y = [0.0, 1.0, 2.0, 3.0], [3.0, 2.1, 1.4, 1.2]
GOOD = {"t": T, "y": Y}


@pytest.fixture(scope="module")
def circuit():
    return cf.new("f = a + b*exp(-c*t)\nr = y - f", {"a": 1.0, "b": 2.0, "c": 0.5}, parameters=["a", "b", "c"],
                  outputs="r")


@pytest.mark.parametrize(("data", "message"), [
    ({"t": T}, "no column for input 'y', and the document has no value for it; the columns are 't'; name its column by "
               "columns={'y': …}"),
    ({"t": T, "Y": Y}, "no column for input 'y', and the document has no value for it; did you mean 'Y'?"),
    ({"t": T, "y": ["3", "2", "1", "0"]}, "column 'y' has text, such as \"3\" in row 1; expected float64; convert it"),
    ({"t": T, "y": np.array([3.0, 2.0, "x", 0], object)}, "column 'y' has text, \"x\" in row 3; expected numbers"),
    ({"t": T, "y": [3.0, None, 1.0, 0.0]}, "column 'y' is missing: NaN or null in row 2; expected a finite number"),
    ({"t": T, "y": [3.0, 2.0, float("nan"), 1.0]}, "column 'y' is missing: NaN or null in row 3; expected a finite"),
    ({"t": [0.0, 1.0, float("inf"), 2.0], "y": Y}, "column 't' is inf in row 3; expected a finite number; fill it in"),
    ({"t": T, "y": np.array(["2020-01-01"] * 4, "M8[D]")}, "column 'y' has dates"),
    ({"t": T, "y": np.ones(4, bool)}, "column 'y' has truth values, such as true in row 1; expected float64"),
    ({"t": T, "y": np.ones(4, complex)}, "column 'y' has complex numbers"),
    ({"t": T, "y": [[1.0], [2.0, 3.0], [4.0], [5.0]]}, "column 'y' has items of different shapes"),
    ({"t": T, "y": Y[:3]}, "columns of different lengths: 't' has 4, 'y' has 3"),
    ({"t": [], "y": []}, "there are no rows; expected one or more"),
    ([], "there are no rows; expected a block of rows"),
    ({"t": T, "y": [[1.0, 2.0]] * 4}, "column 'y' has shape (4, 2); input 'y' has shape ()"),
    ({"t": T, "y": [2.0, 2.0, 2.0, 2.0]}, "what was observed, 'y', is constant: 2 in all 4 rows; there is nothing"),
    ({"t": T[:2], "y": Y[:2]}, "there are 2 residuals for 3 free parameters ('a', 'b', 'c'); expected as many or more"),
    ({1: T}, "1 is the name of a column; expected text"),
    (iter([GOOD]), "data is an iterator, which can be read only once, and a fit reads it many times; give a function"),
    (3.0, "data is 3.0; expected a mapping from column to array"),
    ([3.0], "3.0 is one of the batches; expected a mapping"),
    (lambda: [GOOD, {"t": T}], "the block after row 4 has no column 'y'; expected the columns of the first"),
    (lambda: GOOD, "the function gives an object with 't', 'y'; expected an iterator over mappings"),
    (lambda: None, "the function gives null; expected an iterator over mappings"),
    (len, "which fails: len() takes exactly one argument (0 given); expected one without arguments"),
    (lambda: [{"t": [], "y": []}], "there are no rows; expected one or more, in every pass"),
    (partial(lambda rows: rows, iter([GOOD, GOOD])), "one pass had 4 rows and another"),
    ([{"t": t, "y": y} for t, y in zip(T, Y, strict=True)], "several blocks, each with one value of 't', 'y'"),
    ([GOOD, {"t": T, "y": 3.0}], "column 'y' has shape (); expected (rows,) for input 'y'"),
    ({"t": T, "y": np.ma.array(Y, mask=[0, 0, 1, 0])}, "column 'y' is missing: NaN or null in row 3"),
    ({"t": T, "y": [Decimal(1), Decimal(2), datetime.time(), 1]}, "column 'y' has a value of type time in row 3"),
    ({"t": T, "y": [[1.0]]}, "column 'y' has shape (1, 1); input 'y' has shape (), so expected (rows,), or that"),
    ({"t": T, "y": {1, 2}}, "column 'y' has a value of type set in row 1; expected numbers"),
    ({"t": T, "y": [1, 2, 3, 10**400]}, "column 'y' has items of different shapes, or of no number"),
    (lambda: [GOOD, {"t": T, "y": [Y] * 4}], "column 'y' has shape (4, 4); expected (rows,) for input 'y'"),
    (lambda: [GOOD, {"t": T, "y": [1.0, 2.0, float("nan"), 1.0]}], "column 'y' is missing: NaN or null in row 7"),
    ({"t": [-5000.0, *T[1:]], "y": Y}, "residuals: 'r' is -inf in row 1 at the start, a = 1, b = 2, c = 0.5; give"),
    ("nowhere.csv", "nowhere.csv: No such file or directory"),
    ("table.txt", "table.txt: expected a table as .parquet"),
])
def test_data(circuit, data, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.txt").write_text("t,y\n1,2\n", encoding="utf-8")
    with pytest.raises(cf.InputError, match=re.escape(message)):
        cf.fit(circuit, data)


def test_a_document_with_all_values_has_one_row():
    circuit = cf.new("r = y - a - b*t", {"a": 1.0, "b": 2.0, "t": 0.5, "y": 3.0}, parameters=["a", "b"], outputs="r")
    with pytest.raises(cf.InputError, match="there is 1 residual for 2 free parameters .*; there are no data; give a"):
        cf.fit(circuit)


@pytest.mark.parametrize(("keys", "message"), [
    ({"columns": {"y": "Z"}}, "data: there is no column 'Z' for input 'y'; the columns are 't', 'y'"),
    ({"columns": {"z": "y"}}, "columns: there is no input 'z'; the inputs are 't', 'y'"),
    ({"residuals": "q"}, "residuals: there is no node 'q'"),
    ({"sigma": "q"}, "sigma: there is no node 'q'"),
    ({"sigma": {"column": "sd"}}, "there is no column 'sd' for input 'sigma'"),
    ({"sigma": {"colum": "sd"}}, "sigma is an object with 'colum'; expected a reference to a node, or {'column': …}"),
    ({"sigma": "t"}, "sigma: 't' is 0.0 in row 1; expected standard deviations, which are above 0; take the row out"),
    ({"start": {"a": 1e200}}, "the squares of 'r' overflow at the start, a = 1e+200, b = 2, c = 0.5; measure the data"),
    ({"bounds": {"c": (2, 1)}}, "the bounds of parameter 'c' are crossed: the lower is 2, the upper 1; exchange them"),
    ({"bounds": {"c": (1, 1)}}, "the bounds of parameter 'c' are both 1; freeze it to keep its value"),
    ({"bounds": {"c": (1, 2)}}, "parameter 'c' starts at 0.5, outside of its bounds 1 to 2; give it another value"),
    ({"bounds": {"c": (1, 2, 3)}}, "bounds of 'c' are a list of 3; expected a pair"),
    ({"bounds": {"c": (None, [1.0, 2.0])}}, "the upper bound of 'c' has shape (2,); expected (), the parameter's"),
    ({"bounds": {"d": (1, 2)}}, "bounds: there is no parameter 'd'"),
    ({"frozen": ["x"]}, "frozen: there is no parameter 'x'; there are 'a', 'b', 'c'"),
    ({"frozen": ["a", "b", "c"]}, "no parameter is free: 'r' depends on 'a', 'b', 'c', and frozen are 'a', 'b', 'c'"),
    ({"start": {"a": float("nan")}}, "parameter 'a' starts at nan; expected a finite number"),
    ({"start": {"a": [1.0]}}, "the start of 'a' has shape (1,); expected ()"),
    ({"tolerance": 0.0}, "tolerance is 0.0; expected a number from 1e-15 to 1"),
    ({"max_evaluations": 0}, "max_evaluations is 0; expected a whole number from 1"),
    ({"seed": -1}, "seed is -1; expected a whole number from 0"),
    ({"method": "trff"}, "there is no method 'trff'; did you mean 'trf'?"),
    ({"method": {"name": 3}}, "there is no method 3; there are 'auto'"),
    ({"method": {"name": "trf", "f_scal": 3}}, "the method trf has no option 'f_scal'; did you mean 'f_scale'?"),
    ({"method": {"name": "trf", "q": 3}}, "the method trf has no option 'q'; its options are 'loss', 'f_scale'"),
    ({"method": {"name": "trf", "f_scale": -1.0}}, "method trf: f_scale is -1.0; input should be greater than 0"),
    ({"method": {"name": "trf", "x_scale": [1.0]}}, "x_scale has 1 numbers; expected 3, one for each element"),
    ({"method": {"name": "lm", "loss": "huber"}}, "the method lm takes no robust loss, and loss is 'huber'"),
    ({"method": "lm", "bounds": {"c": (0, 1)}}, "the method lm takes no bounds; take trf or dogbox"),
    ({"engine": "abacus"}, "there is no engine 'abacus'"),
    ({"seed": 1.5}, "fit: seed is 1.5; expected a whole number"),
])
def test_options(circuit, keys, message):
    with pytest.raises(cf.InputError, match=re.escape(message)):
        cf.fit(circuit, GOOD, **keys)


@pytest.mark.parametrize(("deviation", "message"), [
    (0.0, "sigma: column 'sd' is 0.0 in row 3; expected standard deviations"),
    (-1.0, "sigma: column 'sd' is -1.0 in row 3; expected standard deviations"),
    (np.nan, "column 'sd' is missing: NaN or null in row 3"), (np.inf, "column 'sd' is inf in row 3")])
@pytest.mark.parametrize("expression", ["r = y - a*t", "r = y**2 - a*t"])
def test_standard_deviations_are_above_0(expression, deviation, message):
    sd = [1.0, 1.0, deviation, 1.0]
    with pytest.raises(cf.InputError, match=re.escape(message)):
        cf.fit(cf.new(expression, {"a": 1.0}, parameters=["a"]), lambda: [
            {name: column[part] for name, column in {**GOOD, "sd": sd}.items()} for part in (slice(1), slice(1, 4))],
            sigma={"column": "sd"})


@pytest.mark.parametrize("factor", [1e160, 1e300])
@pytest.mark.parametrize("column", ["t", "y"])
def test_numbers_whose_squares_are_no_numbers_are_refused(circuit, factor, column):
    line = cf.new("r = y - a*t", {"a": 1.0}, parameters=["a"])
    with pytest.raises(cf.InputError, match="the squares of 'r' overflow at the start, a = 1; measure the data"):
        cf.fit(line, {**GOOD, column: factor * np.array(GOOD[column])})


def test_residuals_must_be_named_where_there_are_several_outputs_and_be_floats():
    circuit = cf.new("r = y - a*t\ns = y > a", {"a": 1.0}, parameters=["a"])
    with pytest.raises(cf.InputError, match="the circuit has the outputs 'r', 's'; name the one to minimise"):
        cf.fit(circuit, GOOD)
    with pytest.raises(cf.InputError, match="residuals: 's' is bool; expected floating-point numbers"):
        cf.fit(circuit, GOOD, residuals="s")


def test_a_derivative_that_is_not_finite_at_the_start():
    circuit = cf.new("r = y - sqrt(a*t)", {"a": 0.0}, parameters=["a"])
    with pytest.raises(cf.InputError, match="the derivative by 'a' of 'r' is nan in row 1 at the start, a = 0"):
        cf.fit(circuit, GOOD)


def test_the_leading_dimensions_of_a_batch_have_one_name():
    circuit = cf.new("r = reduce_sum(y) - a*reduce_sum(t)", {"a": 1.0}, parameters=["a"],
                     shapes={"t": ["N"], "y": ["M"]})
    with pytest.raises(cf.InputError, match="leading dimensions 'M', 'N'; expected one name"):
        cf.fit(circuit, GOOD)


@pytest.mark.parametrize(("text", "message"), [
    ("t,y\n", "rows.csv: there are no rows; expected one or more"),
    ("t,y\n1,x\n", "rows.csv: row 1 (line 2), column 'y': "),
    ("t,y\n1,\n", "rows.csv: row 1 (line 2), column 'y': "),
    ("t,y\n1,2\n2,NaN\n", "rows.csv: row 2, column 'y': nan; expected a finite number; fill it in, or take the row "
                            "out"),
    ("t,y,y\n1,2,3\n", "rows.csv: column 'y' stands twice; rename one of the two"),
    ("t,z\n1,2\n", "data: there is no column for input 'y'"),
])
def test_files(circuit, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    with pytest.raises(cf.InputError, match=re.escape(message)):
        cf.fit(circuit, "rows.csv")


def beside(folder, **data):
    document = cf.new("r = y - a*t", {"a": 1.0}, parameters=["a"]).document.model_dump(mode="json", by_alias=True,
                                                                                       exclude_unset=True)
    (folder / "rows.csv").write_text("t,y\n1,2\n2,4.1\n3,6\n", encoding="utf-8")
    path = folder / "c.json"
    document |= {"circuitflow": "1.1", "fit": {"data": data, "residuals": "r"}}
    path.write_text(json.dumps(document), encoding="utf-8")
    return cf.load(path)


def test_a_file_beside_a_document_is_pinned_and_cannot_lie_elsewhere(tmp_path):
    assert cf.fit(beside(tmp_path, file="rows.csv")).values["a"] == pytest.approx(2.0142857142857)
    with pytest.raises(cf.InputError, match="data: 'rows.csv' has the SHA-256 digest [0-9a-f]{64}; expected 0000"):
        cf.fit(beside(tmp_path, file="rows.csv", sha256="0" * 64))
    with pytest.raises(cf.InputError, match="data: 'gone.csv': no such file beside the document"):
        cf.fit(beside(tmp_path, file="gone.csv"))
    outside = tmp_path / "outside.csv"
    outside.write_text("t,y\n1,2\n", encoding="utf-8")
    inner = tmp_path / "inner"
    inner.mkdir()
    circuit = beside(inner, file="link.csv")
    (inner / "link.csv").symlink_to(outside)
    with pytest.raises(cf.InputError, match="a link leads out of the document's folder"):
        cf.fit(circuit)


def test_a_file_that_changes_between_passes_is_refused(circuit, tmp_path):
    path = tmp_path / "rows.csv"
    text = "t,y\n" + "".join(f"{t},{y}\n" for t, y in zip(T, Y, strict=True))
    path.write_text(text, encoding="utf-8")

    def grow(step):
        path.write_text(text + "9,9\n", encoding="utf-8")
    with pytest.raises(cf.InputError, match="rows.csv: the file was changed while it was read; fit again when"):
        cf.fit(circuit, path, callback=grow)


@pytest.mark.parametrize(("key", "value"), [
    ("batch_size", 2), ("epochs", 5),
    ("schedule", {"name": "cosine"}), ("validation", {"fraction": 0.5})])
def test_what_a_document_says_is_never_left_out_without_a_word(circuit, key, value):
    document = json.loads(cf.dumps(circuit)) | {"circuitflow": "1.1", "fit": {"residuals": "r", key: value}}
    message = (f"^fit: '{key}' goes with a loss and stochastic methods, such as adam; the method is auto, for least "
               f"squares; leave '{key}' out, or take another method$")
    with pytest.raises(cf.InputError, match=message):
        cf.fit(cf.loads(json.dumps(document)), GOOD)


@pytest.mark.parametrize(("key", "value"), [("constraints", {"r": "nonnegative"}), ("starts", 3), ("reduction", "sum")])
def test_what_goes_with_a_loss_is_refused_for_residuals(circuit, key, value):
    message = f"^fit: '{key}' goes with a loss.*; the method is auto, for least squares; leave '{key}' out, or take"
    with pytest.raises(cf.InputError, match=message):
        cf.fit(circuit, GOOD, residuals="r", **{key: value})
    document = json.loads(cf.dumps(circuit)) | {"circuitflow": "1.1", "fit": {"residuals": "r", key: value}}
    if key != "reduction":
        with pytest.raises(cf.InputError, match=message):
            cf.fit(cf.loads(json.dumps(document)), GOOD)


@pytest.mark.parametrize(("key", "value"), [
    ("tolerance", 1e-3), ("max_evaluations", 3), ("starts", 2), ("likelihood", True), ("constraints", {"f": "zero"}),
    ("sigma", "t"), ("absolute_sigma", True)])
def test_what_does_not_go_with_training_is_refused(circuit, key, value):
    with pytest.raises(cf.InputError, match=f"^fit: '{key}' goes with .*; the method is adam, for a loss; leave"):
        cf.fit(circuit, GOOD, loss="r", method="adam", **{key: value})


def test_every_key_of_a_fit_is_used_or_refused(circuit):
    from circuitflow.document.fit import Fit
    from circuitflow.fitting.request import COMMON, TAKEN

    assert not COMMON & TAKEN.keys()
    of_the_machine = {"on_nan", "client", "device"}  # where and how a fit runs is not in its document
    assert COMMON | (TAKEN.keys() - of_the_machine) == set(Fit.model_fields)
