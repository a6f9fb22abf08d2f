"""Tables as people have them: every one is read exactly, or refused by row and column; with pyarrow and without."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from circuitflow.tables import delimited, lines
from support.documents import document
from support.slices import alike, choose
from support.suite import ROOT

ROWS = [(1.0, -2.5), (0.1, 3e300), (-0.0, 5e-324), (math.nan, math.inf), (-math.inf, 9007199254740991.0)]
"""What most tables hold, in columns x and y."""

SPELLINGS = [
    [("1", "-2.5"), ("0.1", "3e300"), ("-0", "5e-324"), ("NaN", "Infinity"), ("-Infinity", "9007199254740991")],
    [("+1", "-25E-1"), (".1", "+3.0e+300"), ("-0.0", "4.9406564584124654e-324"), ("nan", "inf"),
     ("-inf", "9007199254740991.0")],
    [("\u00a01", "-2.5 "), ("0.1000000000000000055511151231257827", "3e0300"), ("-0e5", "0.5e-323"),
     ("NAN", "+INFINITY"), ("-INF", "09007199254740991")],
]
KEPT = ["plain", "with, comma", 'with "quotes"', "", " blank é "]


@pytest.fixture
def identity(tmp_path):
    """A file of a circuit whose outputs are its inputs x, y, with a default for y; and of any dtype."""
    def write(dtype="float64"):
        path = tmp_path / "identity.json"
        nodes = [{"id": name, "gate": "input", "dtype": dtype} for name in "xy"]
        default = True if dtype == "bool" else 7
        path.write_text(document(*(node if node["id"] == "x" else {**node, "value": default} for node in nodes),
                                 outputs=["x", "y"]))
        return str(path)

    return write


@pytest.fixture(params=["with pyarrow", "without"])
def reader(request, monkeypatch):
    """Both ways to take text apart; in blocks that end anywhere."""
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr(lines, "_FIRST", 16)
    monkeypatch.setattr(delimited, "ROWS", 3)
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return request.param


def numbers(text):
    """The cells of what the program writes, by the reader of Python's own library."""
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    return header, [[float(cell) for cell in row] for row in rows]


def assert_same(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_array_equal(np.array(found), np.array(expected))
    np.testing.assert_array_equal(np.signbit(found) & ~np.isnan(found), np.signbit(expected) & ~np.isnan(expected))


# Read exactly ---------------------------------------------------------------------------------------------------------

ENDS = {"LF": "\n", "CR LF": "\r\n", "CR": "\r"}
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def texts():
    """Names and bytes of tables of ROWS."""
    for (end, newline), (separator, between), (i, cells), quoting, last, mark in itertools.product(
            ENDS.items(), SEPARATORS.items(), enumerate(SPELLINGS), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), (True, False),
            (b"", b"\xef\xbb\xbf")):
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=between, lineterminator=newline, quoting=quoting)
        writer.writerow([" x" if i == 2 else "x", "note, one; more", "y"])
        writer.writerows((x, f"line{newline}{j}" if j == 2 else KEPT[j], y) for j, (x, y) in enumerate(cells))
        text = file.getvalue()
        yield f"{end}, {separator}, spelling {i}, quoting {quoting}, {'' if last else 'no '}end, {len(mark)}", mark + (
            text if last else text.removesuffix(newline)).encode()


TEXTS = dict(texts())
FEW = choose([dict(enumerate(name.split(", "))) for name in TEXTS], times=8)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if i in FEW else pytest.mark.long)
                                  for i, name in enumerate(TEXTS)])
def test_text_is_read_exactly(circuitflow, identity, tmp_path, reader, name):
    table = tmp_path / ("table.tsv" if "tab" in name else "table.csv")
    table.write_bytes(TEXTS[name])
    outcome = circuitflow("run", identity(), "--table", str(table), "--forward")
    assert (outcome.status, outcome.err) == (0, f"note: {table}: no input takes 'note, one; more'\n")
    header, found = numbers(outcome.out)
    assert header == ["x", "y"]
    assert_same(found, ROWS)


@pytest.mark.parametrize(("name", "data"), [
    ("blank lines.csv", b"\n\nx,y\n\n1,2\n\n\n3,4\n\n"),
    ("more tabs.tsv", b"x\ty\n1\t2\n3\t4\n"),
    ("UPPER.CSV", b"x,y\n1,2\n3,4\n"),
    ("zipped.csv.gz", gzip.compress(b"x,y\n1,2\n3,4\n", mtime=0)),
    ("zipped twice.csv.gz", gzip.compress(b"x,y\n1,2\n", mtime=0) + gzip.compress(b"3,4\n", mtime=0)),
    ("other order.csv", b"z,y,,x\n,2,#,1\nnot a number,4,,3\n"),
    ("quoted names.csv", b'"x","y"\n"1","2"\n"3","4"\n'),
    ("header of two lines.csv", b'x,"z\n(m)",y\n1,,2\n3,,4\n'),
    ("mixed ends.csv", b"x,y\r1,2\n3,4\r\n"),
    ("literal quotes.csv", b'x,z,y\n1,5" pipe,2\n3,,4\n'),
    ("lines.jsonl", b'{"x": 1, "y": 2}\n{"y": 4, "x": 3}\n'),
    ("lines.ndjson", b'\xef\xbb\xbf\n{"x": 1, "y": 2.0, "z": [{"a": null}]}\r\n \n{"y": 40e-1, "x": 3, "z": 1}'),
    ("lines.jsonl.gz", gzip.compress(b'{"x": 1, "y": 2}\n{"y": 4, "x": 3}\n', mtime=0)),
])
def test_other_tables_are_read(circuitflow, identity, tmp_path, reader, name, data):
    (tmp_path / name).write_bytes(data)
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / name), "--forward")
    assert (outcome.status, numbers(outcome.out)) == (0, (["x", "y"], [[1, 2], [3, 4]]))


def test_one_column_may_end_in_blank_lines(circuitflow, identity, tmp_path, reader):
    for text in ("x\n1\n2\n\n\n", "x\n1\n2\n", '"x"\n"1"\n"2"'):
        (tmp_path / "t.csv").write_text(text)
        outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.csv"), "--forward", "--of", "x")
        assert (outcome.status, outcome.out, outcome.err) == (0, "x\n1\n2\n", "")


# Refused --------------------------------------------------------------------------------------------------------------

CELLS = {
    "": "there is no value; write one, such as NaN, or take the row out",
    "   ": "there is no value; write one, such as NaN, or take the row out",
    "two": "'two' is no number; expected float64",
    "9007199254740993": "9007199254740993 cannot be kept exactly in a float64; write it as a float such as 1e20",
    "-18446744073709551617": "-18446744073709551617 cannot be kept exactly in a float64; write it as a float such as "
                             "1e20",
    "1e400": "'1e400' is too large for a float64; write Infinity if you mean it",
    "-1e999999999": "'-1e999999999' is too large for a float64; write Infinity if you mean it",
    "1e-400": "'1e-400' is too small for a float64, which makes it 0; write 0 if you mean it",
    "0." + "0" * 400 + "1": "is too small for a float64, which makes it 0; write 0 if you mean it",
    "1" * 1001: "a number of 1001 digits; at most 1000 are read (limit digits)",
    "0." + "1" * 1000: "a number of 1002 digits; at most 1000 are read (limit digits)",
    "1_000": "'1_000' is no number; write 1000",
    "1_0.5_0": "'1_0.5_0' is no number; write 10.50",
    "1 000": "is no number; write it without separators of thousands, and with a point before decimals",
    "1.000.000": "is no number; write it without separators of thousands, and with a point before decimals",
    "1'000'000": "is no number; write it without separators of thousands, and with a point before decimals",
    "1\u202f000": "is no number; write it without separators of thousands, and with a point before decimals",
    "0x1F": "'0x1F' is no number; write it in decimal digits",
    "0x1p-2": "'0x1p-2' is no number; write it in decimal digits",
    "true": "'true' is no number; expected float64; write 1 or 0 if you mean that",
    "NA": "'NA' is no number; write NaN, or take the row out",
    "null": "'null' is no number; write NaN, or take the row out",
    "-": "'-' is no number; write NaN, or take the row out",
    "#N/A": "'#N/A' is no number; expected float64",
    "١٢": "'١٢' is no number; expected float64",
    "１": "'１' is no number; expected float64",
    "−1": "'−1' is no number; expected float64",
    "1e": "'1e' is no number; expected float64",
    "e5": "'e5' is no number; expected float64",
    ".": "'.' is no number; expected float64",
    "--1": "'--1' is no number; expected float64",
    "1 2": "'1 2' is no number; expected float64",
    "1f": "'1f' is no number; expected float64",
    "1d5": "'1d5' is no number; expected float64",
    "1+2j": "'1+2j' is no number; expected float64",
    "nan(1)": "'nan(1)' is no number; expected float64",
    "1/2": "'1/2' is no number; expected float64",
    "50%": "'50%' is no number; expected float64",
    "$5": "'$5' is no number; expected float64",
    "2024-01-01": "'2024-01-01' is no number; expected float64",
    "1\x1e": "'1\\x1e' is no number; expected float64",
    "1\x0c": "'1\\x0c' is no number; expected float64",
    "\u20031": "'\\u20031' is no number; expected float64",
    "1\0": "'1\\x00' is no number; expected float64",
    "\x1b[2J": "'\\x1b[2J' is no number; expected float64",
    "x" * 10**5: "…' is no number; expected float64",
    "[1]": "'[1]' is no number; expected float64",
    "=1+1": "'=1+1' is no number; expected float64",
}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: repr(cell)[:30])
def test_a_cell_that_is_no_number_is_named(circuitflow, identity, tmp_path, reader, cell):
    for table, rows in (("t.csv", f"x,y\n1,2\n3,{cell}\n5,6\n"), ("t.tsv", f"x\ty\r\n1\t2\r\n3\t{cell}\r\n5\t6\r\n"),
                        ("q.csv", f'"x","y"\n1,2\n"3","{cell}"\n')):
        (tmp_path / table).write_bytes(rows.encode())
        outcome = circuitflow("run", identity(), "--table", str(tmp_path / table), "--forward")
        assert outcome.status == 2
        assert outcome.err.startswith(f"error: {tmp_path / table}: row 2 (line 3), column 'y': ")
        assert outcome.err.endswith(f"{CELLS[cell]}\n")
        assert outcome.err.isascii() or not cell.isascii() or len(cell) > 40
        assert "\x1b" not in outcome.err


ODD = {
    "comma for a point;.csv": (b"x;y\n1,5;2\n", "row 1 (line 2), column 'x': '1,5' is no number; write 1.5"),
    "thousands.csv": (b'x,y\n"1,000,000",2\n',
                      "row 1 (line 2), column 'x': '1,000,000' is no number; write it without separators of thousands"),
    "two separators.csv": (b"x,y;z\n1,2;3\n", "its header has commas and semicolons; separate columns by one of them"),
    "blank and tab.csv": (b"x,\ty\n1,2\n", "its header has commas and tabs"),
    "commas.tsv": (b"x,y\n1,2\n", "there is no column for input 'x'; its columns are 'x,y'"),
    "no separator.csv": (b"x y\n1 2\n",
                         "there is no column for input 'x'; its columns are 'x y'; give the same value for every row "
                         "by --set x=…"),
    "pipe.csv": (b"x|y\n1|2\n", "there is no column for input 'x'; its columns are 'x|y'"),
    "comment above.csv": (b"# made by hand\nx,y\n1,2\n",
                          "there is no column for input 'x'; its columns are '# made by hand'"),
    "comment between.csv": (b"x,y\n1,2\n# more\n3,4\n",
                            "row 2 (line 3): it has 1 value, and the header has 2 columns; there is nothing for column "
                            "'y'"),
    "header twice.csv": (b"x,y\n1,2\nx,y\n3,4\n", "row 2 (line 3), column 'x': 'x' is no number"),
    "units below.csv": (b"x,y\nm,s\n1,2\n", "row 1 (line 2), column 'x': 'm' is no number"),
    "too few.csv": (b"x,y\n1,2\n3\n",
                    "row 2 (line 3): it has 1 value, and the header has 2 columns; there is nothing for column 'y'"),
    "too many.csv": (b"x,y\n1,2\n3,4,\n",
                     "row 2 (line 3): it has 3 values, and the header has 2 columns; take out what is too much"),
    "blank inside one column.csv": (b"x\n1\n\n2\n",
                                    "row 2 (line 3), column 'x': the line is blank; write a value, or take the line "
                                    "out"),
    "blank first of one column.csv": (b"x\n\n1\n", "row 1 (line 2), column 'x': the line is blank"),
    "twice.csv": (b"x,y,x\n1,2,3\n", "column 'x' stands twice; rename one of the two"),
    "twice with a blank.csv": (b"x,y, x\n1,2,3\n", "column 'x' stands twice; rename one of the two"),
    "case.csv": (b"X,y\n1,2\n", "there is no column for input 'x'; did you mean 'X'?"),
    "empty.csv": (b"", "there is no column for input 'x'; it has none; give the same value for every row by --set x=…"),
    "only ends.csv": (b"\r\n\n\r", "there is no column for input 'x'; it has none"),
    "mark alone.csv": (b"\xef\xbb\xbf", "there is no column for input 'x'; it has none"),
    "mark twice.csv": (b"\xef\xbb\xbf\xef\xbb\xbfx,y\n1,2\n", "there is no column for input 'x'"),
    "UTF-16.csv": ("x,y\n1,2\n".encode("utf-16"), "UTF-16 or UTF-32 text, or no text at all; save it as UTF-8"),
    "UTF-16 BE.csv": ("x,y\n1,2\n".encode("utf-16-be"), "UTF-16 or UTF-32 text, or no text at all; save it as UTF-8"),
    "UTF-32.csv": ("x,y\n1,2\n".encode("utf-32"), "UTF-16 or UTF-32 text, or no text at all; save it as UTF-8"),
    "Latin-1 name.csv": (b"x,y,\xe9\n1,2,3\n",
                         "the name of column 3: byte 0xe9 is no UTF-8 text; save the file as UTF-8"),
    "Latin-1 text.csv": (b"x,y,z\n1,2,a\n3,4,\xe9t\xe9\n",
                         "row 2 (line 3), column 'z': byte 0xe9 is no UTF-8 text; save the file as UTF-8"),
    "cut UTF-8.csv": ("x,z\n1,é".encode()[:-1], "row 1 (line 2), column 'z': byte 0xc3 is no UTF-8 text"),
    "quote not closed.csv": (b'x,y\n1,2\n3,"4\n5,6\n', "row 2 (line 3): a text in quotes has no closing quote; add it"),
    "quote in the header.csv": (b'x,"y\n1,2\n', "the header (line 1): a text in quotes has no closing quote; add it"),
    "text after a quote.csv": (b'x,y\n"1"2,3\n',
                               "row 1 (line 2): a closing quote is followed by something else than a separator"),
    "backslash.csv": (b'x,z,y\n1,"a\\"b",2\n',
                      "row 1 (line 2): a closing quote is followed by something else than a separator"),
    "endless text.csv": (b'x,z\n1,"' + b"a" * 1_000_001 + b'"\n',
                         "row 1 (line 2): a text of more than 1000000 characters (limit text); is a quote not closed?"),
    "zipped.csv": (gzip.compress(b"x,y\n1,2\n", mtime=0),
                   "compressed by gzip; decompress it, or give its name the ending .gz"),
    "not zipped.csv.gz": (b"x,y\n1,2\n", "Not a gzipped file (b'x,')"),
    "cut.csv.gz": (gzip.compress(b"x,y\n" + b"1,2\n" * 999, mtime=0)[:-20],
                   "the file is damaged: Compressed file ended before the end-of-stream marker was reached"),
    "damaged.csv.gz": (gzip.compress(b"x,y\n", mtime=0)[:10] + b"\x07" * 30, "the file is damaged: Error -3"),
    "nothing.csv.gz": (b"", "there is no column for input 'x'; it has none"),
    "a list.jsonl": (b"[1, 2]\n", 'row 1 (line 1): a list of 2 is no object; write one, such as {"x": 1}'),
    "a number.jsonl": (b'{"x": 1}\n\n17\n', 'row 2 (line 3): 17 is no object; write one, such as {"x": 1}'),
    "an array of objects.jsonl": (b'[{"x": 1},\n{"x": 2}]\n', "row 1 (line 1): no JSON at character"),
    "no JSON.jsonl": (b'{"x": 1}\n{"x": 1,}\n', "row 2 (line 2): no JSON at character"),
    "cut.jsonl": (b'{"x": 1}\n{"x"', "row 2 (line 2): no JSON at character"),
    "text.jsonl": (b'{"x": "1"}\n', "row 1 (line 1), column 'x': \"1\" is no float64; write a number without quotes, "
                                    "or \"NaN\", \"Infinity\" or \"-Infinity\""),
    "null.jsonl": (b'{"x": 1}\n{"x": null}\n',
                   "row 2 (line 2), column 'x': null is no value; write one, or take the row out"),
    "true.jsonl": (b'{"x": true}\n', "row 1 (line 1), column 'x': true is no float64; write a number without quotes"),
    "list.jsonl": (b'{"x": [1]}\n',
                   "row 1 (line 1), column 'x': a list of 1 is no float64; write a number without quotes"),
    "object.jsonl": (b'{"x": {"y": 1}}\n', "row 1 (line 1), column 'x': an object with 'y' is no float64"),
    "NaN.jsonl": (b'{"x": NaN}\n', 'row 1 (line 1): NaN is not JSON; write "NaN" in quotes'),
    "-Infinity.jsonl": (b'{"x": -Infinity}\n', 'row 1 (line 1): -Infinity is not JSON; write "-Infinity" in quotes'),
    "inf.jsonl": (b'{"x": "inf"}\n', "row 1 (line 1), column 'x': \"inf\" is no float64"),
    "huge.jsonl": (b'{"x": 1e400}\n',
                   "row 1 (line 1), column 'x': '1e400' is too large for a float64; write Infinity if you mean it"),
    "rounded.jsonl": (b'{"x": 1}\n{"x": 9007199254740993}\n',
                      "row 2 (line 2), column 'x': 9007199254740993 cannot be kept exactly"),
    "digits.jsonl": (b'{"x": ' + b"1" * 5000 + b"}\n",
                     "row 1 (line 1), column 'x': a number of 5000 digits; at most 1000 are read (limit digits)"),
    "key twice.jsonl": (b'{"x": 1, "x": 2}\n', "row 1 (line 1): key 'x' stands twice; take one of the two out"),
    "no key.jsonl": (b'{"x": 1, "y": 2}\n{"x": 3}\n', "row 2 (line 2): there is no key 'y', which row 1 has; add it"),
    "a new key.jsonl": (b'{"x": 1}\n{"x": 3, "y": 4}\n',
                        "row 2 (line 2): key 'y' is not one of row 1; it has 'x', and so has every row"),
    "deep.jsonl": (b'{"x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}\n", "row 1 (line 1): nested too deep to be read"),
    "Latin-1.jsonl": (b'{"x": 1, "z": "\xe9"}\n', "row 1 (line 1): byte 0xe9 is no UTF-8 text; save the file as UTF-8"),
    "UTF-16.jsonl": ('{"x": 1}\n'.encode("utf-16"), "UTF-16 or UTF-32 text, or no text at all; save it as UTF-8"),
    "empty.jsonl": (b"", "there is no column for input 'x'; it has none"),
    "no parquet.parquet": (b"PAR1 or so", ""),
    "empty.parquet": (b"", ""),
    "no arrow.arrow": (b"x,y\n1,2\n", ""),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_table_is_refused(circuitflow, identity, tmp_path, reader, name):
    data, message = ODD[name]
    table = tmp_path / name
    table.write_bytes(data)
    out = tmp_path / "out.csv"
    outcome = circuitflow("run", identity(), "--table", str(table), "--forward", "--defaults", "-o", str(out))
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = [line for line in outcome.err.splitlines() if not line.startswith("note: ")]
    if name.endswith((".parquet", ".arrow")) and reader == "without":
        message = "needs `pip install"
    assert line.startswith(f"error: {table}{'' if 'needs' in message else ': '}")
    assert message in line
    assert not out.exists()


@pytest.mark.parametrize("name", ["a folder.csv", "a folder.jsonl", "a folder.parquet"])
def test_a_folder_is_no_table(circuitflow, identity, tmp_path, name):
    (tmp_path / name).mkdir()
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / name))
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.gz"])
def test_a_line_without_an_end_is_bounded(circuitflow, identity, tmp_path, ending):
    # 64 MB of one line in 64 KB.
    (tmp_path / f"bomb.{ending}").write_bytes(gzip.compress(b"x" + b" " * 2**26, 9, mtime=0))
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / f"bomb.{ending}"), "--limit",
                          "document_bytes=1000000")
    assert outcome.status == 2
    assert outcome.err.endswith("line 1 has more than 1000000 bytes, the longest line that is read (limit "
                                "document_bytes)\n")


def test_a_long_header_is_read_once(monkeypatch, tmp_path):
    # Counts what is looked at: four times as many columns are four times as much.
    class Counted(io.BytesIO):
        looked = 0

        def read(self, size=-1):
            data = super().read(size)
            Counted.looked += len(data)
            return data

    for columns in (10**4, 10**6):
        data = ",".join(f"c{i}" for i in range(columns)).encode() + b"\n" + b"1," * (columns - 1) + b"1\n"
        Counted.looked = 0
        source = lines.Lines(Counted(data), "t", lines.Limits())
        found = b""
        while block := source.block():
            found += block
        assert found == data
        assert Counted.looked == len(data)


# Dtypes ---------------------------------------------------------------------------------------------------------------

KEPT_OF = {
    "int64": (["9223372036854775807", "-0", "+3", "2.0", "1e3", "007"], [9223372036854775807, 0, 3, 2, 1000, 7]),
    "uint8": (["255", "0"], [255, 0]),
    "float32": (["0.1", "16777216", "NaN", "-Infinity", "1e-45"],
                [float(np.float32(0.1)), 16777216, math.nan, -math.inf, float(np.float32(1e-45))]),
    "bool": (["true", "False", "TRUE"], ["true", "false", "true"]),
}
LOST_IN = {
    "int64": {"1.5": "1.5 is not an int64", "9223372036854775808": "9223372036854775808 is not an int64",
              "9007199254740993.0": "may be rounded on its way to int64",
              "NaN": "nan is not an int64", "true": "'true' is no number",
              "": "there is no value; write one, or take the row out", "0x10": "write it in decimal digits"},
    "uint8": {"256": "256 is not an uint8: expected an integer from 0 to 255", "-1": "-1 is not an uint8"},
    "float32": {"16777217": "16777217 cannot be kept exactly in a float32", "1e39": "is too large for a float32",
                "1e-46": "is too small for a float32"},
    "bool": {"1": "'1' is no truth value; write true or false", "yes": "'yes' is no truth value; write true or false"},
}


@pytest.mark.parametrize("dtype", KEPT_OF)
def test_other_dtypes_are_read_exactly(circuitflow, identity, tmp_path, reader, dtype):
    cells, expected = KEPT_OF[dtype]
    (tmp_path / "t.csv").write_text("x\n" + "\n".join(cells) + "\n")
    outcome = circuitflow("run", identity(dtype), "--table", str(tmp_path / "t.csv"), "--forward", "--of", "x")
    assert (outcome.status, outcome.err) == (0, "")
    found = outcome.out.splitlines()[1:]
    if dtype == "bool":
        assert found == expected
    else:
        read = int if "int" in dtype else float
        np.testing.assert_array_equal([read(x) for x in found], expected)


@pytest.mark.parametrize(("dtype", "cell"), [(dtype, cell) for dtype, cells in LOST_IN.items() for cell in cells])
def test_what_a_dtype_cannot_hold_is_refused(circuitflow, identity, tmp_path, reader, dtype, cell):
    good = KEPT_OF[dtype][0][0]
    (tmp_path / "t.csv").write_text(f"x,z\n{good},\n{cell},\n")
    outcome = circuitflow("run", identity(dtype), "--table", str(tmp_path / "t.csv"), "--forward", "--of", "x")
    assert outcome.status == 2
    assert f"row 2 (line 3), column 'x': {LOST_IN[dtype][cell]}" in outcome.err or LOST_IN[dtype][
        cell] in outcome.err.partition("column 'x': ")[2]


COLUMNS = {
    "int64": (pa.array([1, 2**60 + 1]), "float64",
              "row 2, column 'x': 1152921504606846977 cannot be kept exactly in a float64"),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), "float64",
               "row 1, column 'x': 18446744073709551615 cannot be kept exactly in a float64"),
    "uint64 of int64": (pa.array([1, 2**63], pa.uint64()), "int64",
                        "row 2, column 'x': 9223372036854775808 is not an int64"),
    "float64 of float32": (pa.array([0.1, 1e300]), "float32", "row 2, column 'x': 1e+300 is too large for a float32"),
    "small float64 of float32": (pa.array([0.1, 1e-300]), "float32",
                                 "row 2, column 'x': 1e-300 is too small for a float32"),
    "int64 of float32": (pa.array([2**24, 2**24 + 1]), "float32",
                         "row 2, column 'x': 16777217 cannot be kept exactly in a float32"),
    "int64 of int8": (pa.array([127, 128]), "int8", "row 2, column 'x': 128 is not an int8"),
    "float64 of int64": (pa.array([1.0, 1.5]), "int64", "row 2, column 'x': 1.5 is not an int64"),
    "NaN of int64": (pa.array([1.0, math.nan]), "int64", "row 2, column 'x': nan is not an int64"),
    "2^63 of int64": (pa.array([1.0, 2.0**63]), "int64", "row 2, column 'x': 9.223372036854776e+18 is not an int64"),
    "null": (pa.array([1.0, None]), "float64", "row 2, column 'x': there is no value; write one, or take the row out"),
    "only nulls": (pa.array([None, None]), "float64",
                   "column 'x' is null; expected float64, so cast it to a column of numbers"),
    "text": (pa.array(["1"]), "float64", "column 'x' is string; expected float64, so cast it"),
    "binary": (pa.array([b"1"]), "float64", "column 'x' is binary; expected float64"),
    "truth": (pa.array([True]), "float64", "column 'x' is bool; expected float64"),
    "numbers for truth": (pa.array([1]), "bool",
                          "column 'x' is int64; expected bool, so write a column of truth values"),
    "decimals": (pa.array([1], pa.decimal128(10, 2)), "float64", "column 'x' is decimal128(10, 2); expected float64"),
    "times": (pa.array([0], pa.timestamp("us")), "float64", "column 'x' is timestamp[us]; expected float64"),
    "durations": (pa.array([0], pa.duration("us")), "float64", "column 'x' is duration[us]; expected float64"),
    "dates": (pa.array([0], pa.date32()), "float64", "column 'x' is date32[day]; expected float64"),
    "lists": (pa.array([[1.0]]), "float64", "column 'x' has 1 level of lists in each row, and input 'x' is "
              "one number; take the numbers apart into columns, or give 'x' by --set x=…, the same for every row"),
    "structs": (pa.array([{"y": 1.0}]), "float64", "column 'x' is struct<y: double>; expected float64"),
    "categories of text": (pa.array(["a"]).dictionary_encode(), "float64", "column 'x' is string; expected float64"),
}


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("name", COLUMNS)
def test_an_arrow_column_that_does_not_fit_is_refused(circuitflow, identity, tmp_path, name, ending):
    column, dtype, message = COLUMNS[name]
    path = write(tmp_path / f"t.{ending}", pa.table({"x": column}))
    outcome = circuitflow("run", identity(dtype), "--table", str(path), "--of", "x", "--forward")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {path}: {message}")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(("column", "dtype"), [
    (pa.array([1.5, -2.0], pa.float16()), "float64"), (pa.array([1.5, math.nan], pa.float32()), "float64"),
    (pa.array([1, 2**53], pa.int64()), "float64"),
    (pa.array([1.0, 2.0**62]), "int64"), (pa.array([0, 2**63], pa.uint64()), "float64"),
    (pa.array([1.5, 2.5, 1.5]).dictionary_encode(), "float64"),
    (pa.array([True, False]), "bool"), (pa.array([0.1, 1e-40, 0.0]), "float32"), (pa.array([-128, 127]), "int8"),
])
def test_an_arrow_column_is_read_exactly(circuitflow, identity, tmp_path, column, dtype, ending):
    path = write(tmp_path / f"t.{ending}", pa.table({"x": column}))
    out = tmp_path / "out.parquet"
    outcome = circuitflow("run", identity(dtype), "--table", str(path), "--of", "x", "--forward", "-o", str(out))
    assert (outcome.status, outcome.err) == (0, "")
    found = pa.parquet.read_table(out)["x"]
    assert str(found.type) == {"float64": "double", "float32": "float"}.get(dtype, dtype)
    np.testing.assert_array_equal(found.to_numpy(), np.array(column.to_pylist(), dtype))


def write(path, table):
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.sliced(ending=alike)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_damaged_arrow_file_ends_in_a_sentence(tmp_path, ending):
    # In a process of its own: pyarrow reads beyond its memory where it is not told to look at offsets first.
    table = pa.table({"id": ["a", "b", "c"] * 20, "x": [1.0, 2.0, 3.0] * 20, "y": [1, 2, 3] * 20})
    write(tmp_path / f"t.{ending}", table)
    done = subprocess.run([sys.executable, "-c", DAMAGED, str(tmp_path / f"t.{ending}"),
                           str(ROOT / "circuits/staged.json")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"read", "refused"}


DAMAGED = """
import random, sys
import circuitflow as cf
from circuitflow.rows.tables import TableRun
from circuitflow.tables.places import find_parts
from circuitflow.interpreter.question import Question
from circuitflow.rows.task import RowTask
path, circuit = sys.argv[1:]
executor = cf.Executor(cf.load(circuit))
run = RowTask(executor, Question(executor), keep=["id"])
whole, choose = open(path, "rb").read(), random.Random(0)
for _ in range(300):
    data = bytearray(whole)
    for _ in range(choose.choice([1, 3])):
        data[choose.randrange(len(data))] = choose.randrange(256)
    open(path, "wb").write(data)
    try:
        TableRun(run).write(find_parts([path]), path + ".csv", "csv")
        print("read")
    except cf.CircuitflowError:
        print("refused")
    except MemoryError:
        pass
"""


# Round trips ----------------------------------------------------------------------------------------------------------

def test_a_mark_inside_a_kept_text_stays(circuitflow, identity, tmp_path, reader, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 1)  # so that a block begins with it
    (tmp_path / "t.csv").write_text("z,x,y\na,1,2\n\ufeff,3,4\n", encoding="utf-8")
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.csv"), "--keep", "z", "--forward")
    assert (outcome.status, outcome.out) == (0, "z,x,y\na,1,2\n\ufeff,3,4\n")


def test_what_is_written_is_read_again(circuitflow, identity, tmp_path, reader):
    random = np.random.RandomState(0)
    bits = random.randint(0, 2**32, (2, 4000, 2), np.uint64)
    x, y = ((bits[0] << np.uint64(32)) | bits[1]).view(np.float64).T  # of every size, subnormal and not finite too
    rows = [*zip(x.tolist(), y.tolist(), strict=True), *ROWS, *zip(range(-40, 40), np.arange(80) / 8, strict=True)]
    (tmp_path / "0.csv").write_text("x,y\n" + "".join(f"{float(a)!r},{float(b)!r}\n" for a, b in rows))
    for i in range(2):
        outcome = circuitflow("run", identity(), "--table", str(tmp_path / f"{i}.csv"), "--forward", "-o",
                              str(tmp_path / f"{i + 1}.csv"))
        assert (outcome.status, outcome.err) == (0, "")
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()
    assert_same(numbers((tmp_path / "2.csv").read_text())[1], rows)


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_kept_columns_are_as_they_were(circuitflow, identity, tmp_path, reader, target):
    if target == "parquet" and reader == "without":
        pytest.skip("Parquet needs pyarrow")
    texts = ["007", " a ", "é", 'say "so"', "1,2", "two\nlines", "", "NaN", "1e400", "=1+1"] * 9
    file = io.StringIO(newline="")
    csv.writer(file,
               lineterminator="\n").writerows([["note", "x", "id"],
                                               *([text, i, i * 10] for i, text in enumerate(texts))])
    (tmp_path / "t.csv").write_text(file.getvalue(), newline="")
    out = tmp_path / f"out.{target}"
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.csv"), "--keep", "id,note", "--of", "x", "-o",
                          str(out))
    assert (outcome.status, outcome.err) == (0, "")
    if target == "csv":
        header, *rows = csv.reader(io.StringIO(out.read_text(), newline=""))
    else:
        found = pa.parquet.read_table(out)
        header, rows = found.column_names, [[str(x) for x in row.values()] for row in found.to_pylist()]
    assert header == ["id", "note", "x", "dx"]
    assert [row[:2] for row in rows] == [[str(i * 10), text] for i, text in enumerate(texts)]
    assert [float(row[2]) for row in rows] == list(range(len(texts)))


def test_kept_columns_of_json_lines(circuitflow, identity, tmp_path, reader):
    (tmp_path / "t.jsonl").write_text('{"id": 1.50, "x": 1, "s": "a"}\n{"id": null, "x": 2, "s": true}\n')
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.jsonl"), "--keep", "id", "--keep", "s",
                          "--of", "x", "--forward")
    assert (outcome.status, outcome.out) == (0, "id,s,x\n1.50,a,1\n,true,2\n")
    for value, message in (("[1]", "a list of 1 cannot be carried along"), ('"\\ud800"', "text with a lone surrogate")):
        (tmp_path / "t.jsonl").write_text(f'{{"id": 1, "x": 1}}\n{{"id": {value}, "x": 2}}\n')
        outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.jsonl"), "--keep", "id", "--of", "x")
        assert outcome.status == 2
        assert f"row 2 (line 2), column 'id': {message}" in outcome.err


def test_kept_columns_of_arrow(circuitflow, identity, tmp_path):
    table = pa.table({"x": [1.0, 2.0], "t": pa.array([0, None], pa.timestamp("ms")),
                      "c": pa.array(["a,b", None]).dictionary_encode(), "f": [0.1, math.inf], "l": [[1], []]})
    path = write(tmp_path / "t.parquet", table)
    arguments = ("run", identity(), "--table", str(path), "--of", "x", "--forward")
    assert circuitflow(*arguments, "--keep",
                       "t,c,f").out == 't,c,f,x\n1970-01-01 00:00:00.000,"a,b",0.1,1\n,,Infinity,2\n'
    out = tmp_path / "out.arrow"
    assert circuitflow(*arguments, "--keep", "t,c,l", "-o", str(out)).status == 0
    with pa.ipc.open_file(out) as reader:
        assert reader.read_all().to_pylist() == [{"t": table["t"][0].as_py(), "c": "a,b", "l": [1], "x": 1.0},
                                                 {"t": None, "c": None, "l": [], "x": 2.0}]
    outcome = circuitflow(*arguments, "--keep", "l")
    assert outcome.status == 2
    assert outcome.err.startswith("note: ") is False or outcome.err.count("\n") == 2


# Columns and inputs ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "table", "err", "out"), [
    ([], "x\n1\n", "error: TABLE: there is no column for input 'y'; its columns are 'x'; give the same value for every "
                   "row by --set y=…, or the document's by --defaults\n", ""),
    (["--defaults"], "x\n1\n", "", "x,y\n1,7\n"),
    (["--set", "y=8"], "x\n1\n", "", "x,y\n1,8\n"),
    (["--of", "x"], "x\n1\n", "", "x\n1\n"),
    (["--set", "y=8"], "x,y\n1,2\n", "note: TABLE: no input takes 'y' (its value is given)\n", "x,y\n1,8\n"),
    (["--defaults"], "x,yy,Y,name\n1,2,3,4\n",
     "note: TABLE: no input takes 'yy' (did you mean 'y'?), 'Y' (did you mean 'y'?), 'name'\n", "x,y\n1,7\n"),
    ([], "x,y,x2\n1,2,3\n", "note: TABLE: no input takes 'x2'\n", "x,y\n1,2\n"),
    (["--keep", "x2"], "x,y,x2\n1,2,3\n", "", "x2,x,y\n3,1,2\n"),
    (["--keep", "x3"], "x,y,x2\n1,2,3\n",
     "error: TABLE: there is no column 'x3' to keep; did you mean 'x'?; its columns are 'x', 'y', 'x2'\n", ""),
    (["--keep", "x"], "x,y\n1,2\n", "error: column 'x' would stand twice; keep it once, or rename it in the table\n",
     ""),
    (["--keep", "z,z"], "x,y,z\n1,2,3\n",
     "error: column 'z' would stand twice; keep it once, or rename it in the table\n", ""),
    (["--keep", "z"], "x,y,z,z\n1,2,3,4\n", "error: TABLE: column 'z' stands twice; rename one of the two\n", ""),
    ([], " x ,y  \n1,2\n", "", "x,y\n1,2\n"),
    ([], "x,y," + ",".join(f"c{i}" for i in range(20)) + "\n",
     "note: TABLE: no input takes " + ", ".join(f"'c{i}'" for i in range(12)) + ", and 8 more\n", "x,y\n"),
])
def test_columns_and_inputs_match_strictly(circuitflow, identity, tmp_path, reader, arguments, table, err, out):
    (tmp_path / "t.csv").write_text(table)
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.csv"), "--forward", *arguments)
    assert (outcome.status, outcome.err, outcome.out) == (2 if "error" in err else 0,
                                                          err.replace("TABLE", str(tmp_path / "t.csv")), out)


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_the_name_of_a_table_is_a_file_and_no_address(circuitflow, identity, tmp_path, monkeypatch, ending):
    """pyarrow takes some names for addresses, which would be read, and replaced, beside all that looks at files."""
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": [1.0], "y": [2.0]})
    for name in (f"t{ending}", b"\xff".decode("utf-8", "surrogateescape") + ending):
        with open(name, "wb") as file, (pyarrow.parquet.ParquetWriter if ending == ".parquet"
                                        else pa.ipc.new_file)(file, table.schema) as writer:
            writer.write_table(table)
        outcome = circuitflow("run", identity(), "--table", name, "--forward")
        assert (outcome.status, outcome.out) == (0, "x,y\n1,2\n")
    before = (tmp_path / f"t{ending}").read_bytes()
    for scheme, message in (("mock://", "mock://{}: ValueError: Protocol not known: mock"),
                            ("file://", f"'t{ending}' and '{{}}' are the same file; write to another one")):
        outcome = circuitflow("run", identity(), "--table", f"{scheme}{tmp_path}/t{ending}", "-o", f"t{ending}")
        assert (outcome.status, outcome.err) == (2, f"error: {message.format(f'{tmp_path}/t{ending}')}\n")
    assert (tmp_path / f"t{ending}").read_bytes() == before


def test_a_name_with_a_separator_is_read_again(circuitflow, identity, tmp_path, reader):
    names = ["a;b", "a\tb", 'a"b']
    with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["x", "y", *names], ["1", "2", "3;4", "5\t6", ""]])
    kept = [argument for name in names for argument in ("--keep", name)]
    for name in ("t", "again"):
        outcome = circuitflow("run", identity(), "--table", str(tmp_path / f"{name}.csv"), "--forward", *kept, "-o",
                              str(tmp_path / "again.csv" if name == "t" else tmp_path / "last.csv"))
        assert (outcome.status, outcome.err) == (0, "")
    assert (tmp_path / "last.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_a_table_of_which_nothing_is_read_is_refused(circuitflow, identity, tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    outcome = circuitflow("run", identity(), "--table", str(tmp_path / "t.csv"), "--set", "x=1", "--set", "y=2")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.endswith("t.csv: no column is read, since 'x', 'y' have the same value in every row; leave out "
                                "--set x=…\n")


@pytest.mark.parametrize("cell", [{"a": 1}, [1, 2], b"\xff"], ids=str)
def test_a_column_that_is_no_text_is_named(circuitflow, identity, tmp_path, cell):
    pyarrow.parquet.write_table(pa.table({"x": [1.0], "y": [2.0], "more": [cell]}), tmp_path / "t.parquet")
    arguments = ["run", identity(), "--table", str(tmp_path / "t.parquet"), "--keep", "more", "--forward"]
    outcome = circuitflow(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    kind = pyarrow.parquet.read_schema(tmp_path / "t.parquet").field("more").type
    assert outcome.err == (f"error: column 'more' is {kind} and cannot be written as text; write .parquet or .arrow, "
                           "or leave it out\n")
    assert circuitflow(*arguments, "-o", str(tmp_path / "out.parquet")).status == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").column("more").to_pylist() == [cell]
