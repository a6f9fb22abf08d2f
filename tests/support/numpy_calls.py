"""Random calls of NumPy's, as text, on arrays and on wires: the circuit gives what NumPy gives, or is refused while it
is traced."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field

import numpy as np
import scipy.special
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.authoring.ufuncs import UFUNCS

SHAPES = [(), (1,), (3,), (4,), (0,), (2, 3), (3, 3), (3, 1), (1, 3), (0, 3), (2, 3, 4), (3, 3, 3), (2, 1, 3), (1, 1)]
DTYPES = ["float64"] * 4 + ["float32", "float16", "int64", "int32", "int8", "uint8", "uint64", "bool"]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 2.5, -2.5, 3.0, 1e-3, 7.25, -0.3]
SPECIAL = [np.nan, np.inf, -np.inf, 1e3, -7e2]
WHOLE = [0, 1, 2, 3, 5, 7, -1, -2, -5]
TOLERANCES = {"float64": 1e-11, "float32": 2e-5, "float16": 2e-2}
LENIENT = "read-only", "float16 is unsupported", "'list' object has no attribute", "can't multiply sequence"
"""What NumPy says of calls that may be accepted."""


@dataclass
class Call:
    """Lines of Python that make `f` of the arrays `x`, `y` and the known array `c`."""

    lines: str
    arrays: dict = field(default_factory=dict)
    known: dict = field(default_factory=dict)

    def function(self):
        names = {"np": np, "sp": scipy.special, **self.known}
        body = "\n    ".join(self.lines.split("\n"))
        exec(f"def f({', '.join(self.arrays)}):\n    {body}\n", names)
        return names["f"]

    def __repr__(self):
        given = {name: (a.dtype.name, a.shape, a.tolist()) for name, a in (self.arrays | self.known).items()}
        return f"\n{self.lines}\n{given}"


def flat(result):
    return [np.asarray(part) for part in result] if isinstance(result, tuple | list) else [np.asarray(result)]


def outcome(call):
    """None where the circuit gives what NumPy gives or is refused, else what is wrong."""
    at_infinity = any(np.any(np.isneginf(array)) for array in call.arrays.values())
    if at_infinity and any(word in call.lines for word in ("gammaln", "**", "pow")):
        # SciPy's gammaln is -∞ there; C's, torch's and ours is ∞, as Γ takes both signs beside every pole. For the
        # exponent 1/2 NumPy takes the square root of an array, which is NaN; our power is that of IEEE 754, ∞.
        return None
    function = call.function()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            expected = flat(function(*(a[()] if not a.ndim else a.copy() for a in call.arrays.values())))
        except Exception as error:
            expected = error
        try:
            circuit = cf.trace(function, *call.arrays.values())
        except cf.CircuitflowError:
            return None
        except Exception as error:
            if isinstance(expected, Exception) or "unhashable" in str(error):  # Python's own, before it asks a wire
                return None
            return f"raw {type(error).__name__}: {error}"
        if isinstance(expected, IndexError | np.linalg.LinAlgError) or any(word in str(expected) for word in LENIENT):
            return None  # what is wrong shows when the circuit runs
        if "Cannot cast" in str(expected):  # by values, a cast is exact or refused when the circuit runs
            return None
        if isinstance(expected, Exception):
            return f"accepted, where NumPy says {type(expected).__name__}: {expected}"
        try:
            found = list(cf.Executor(circuit).forward().outputs.values())
        except Exception as error:
            # an integer that NumPy changes in silence
            if re.search("does not fit|is no float|division by", str(error)):
                return None
            return f"it does not run: {type(error).__name__}: {error}"
    if len(set(map(id, circuit.outputs))) != len(expected):
        return None if len(expected) > len(found) else f"{len(found)} outputs for {len(expected)}"
    for wanted, got in zip(expected, map(np.asarray, found), strict=True):
        if wanted.shape != got.shape or wanted.dtype != got.dtype:
            return f"{got.dtype} {got.shape} for {wanted.dtype} {wanted.shape}"
        tolerance = TOLERANCES.get(wanted.dtype.name, 0)
        if wanted.dtype == np.float16 and np.isinf(wanted).any():
            continue  # NumPy's squares leave the range, ours do not
        finite = np.abs(wanted[np.isfinite(wanted)]) if wanted.dtype.kind == "f" else np.zeros(0)
        if not np.allclose(got, wanted, rtol=tolerance, atol=tolerance * float(np.max(finite, initial=1e-3)),
                           equal_nan=True):
            return f"{got.tolist()} for {wanted.tolist()}"
    return None


# Arrays ---------------------------------------------------------------------------------------------------------------

@st.composite
def arrays(draw, shapes=SHAPES, dtypes=DTYPES, special=True):
    shape, dtype = draw(st.sampled_from(shapes)), np.dtype(draw(st.sampled_from(dtypes)))
    values = FLOATS + (SPECIAL if special and draw(st.integers(0, 3)) == 0 else []) if dtype.kind == "f" else WHOLE
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    with np.errstate(all="ignore"):
        picked = random.choice(values, shape)
        return np.asarray(np.abs(picked) if dtype.kind == "u" else picked).astype(dtype)


def one_of(*texts):
    return st.sampled_from(texts)


@st.composite
def text_of(draw, template, **parts):
    """A template with every {name} replaced by what its strategy draws."""
    return template.format(**{name: draw(part) for name, part in parts.items()})


@st.composite
def keywords(draw, **options):
    """Some of the keywords, with one of their values each."""
    chosen = options and draw(st.lists(st.sampled_from(sorted(options)), unique=True, max_size=3))
    return "".join(f", {name}={draw(st.sampled_from(options[name]))}" for name in chosen)


# Texts ----------------------------------------------------------------------------------------------------------------

AXIS = ["None", "0", "1", "-1", "-2", "2", "(0, 1)", "(0, -1)", "()", "(1,)", "5", "(0, 0)", "1.0", "np.int64(0)",
        "True"]
OTHERS = ["x", "y", "c", "2", "0.5", "-1", "3.0", "0", "True", "[1, 2, 3]", "[0.5, 2.0, 1.0]", "np.float32(2)",
          "np.float64(0.5)", "np.int8(3)", "np.uint8(2)",
          "np.asarray(2.0)", "np.asarray(3)", "[[1], [2]]", "np.float16(1.5)", "np.bool_(True)", "300", "1e300",
          "np.ma.array([1.0, 2.0, 3.0])", "np.matrix([[1.0, 2.0, 3.0]])",
          "np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])", "np.array([1.0, 2.0, 3.0], dtype=object)", "1j", "None",
          "'a'", "np.datetime64('2020-01-01')", "(1, 2, 3)", "[x, x]",
          "x[0]", "np.zeros(3)", "np.ones((2, 3), np.float32)", "np.longdouble(2)", "np.arange(3)"]
UNARY = sorted(f"np.{u.__name__}" if getattr(np, u.__name__, None) is u else f"sp.{u.__name__}" for u in UFUNCS
               if u.nin == 1)
BINARY = sorted(f"np.{u.__name__}" if getattr(np, u.__name__, None) is u else f"sp.{u.__name__}" for u in UFUNCS
                if u.nin == 2)
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "@", "==", "!=", "<", "<=", ">", ">=", "&", "|", "^", "<<", ">>"]
REDUCED = {"axis": AXIS, "keepdims": ["True", "False"], "dtype": ["np.float64", "'f4'", "int", "bool", "None"],
           "out": ["None", "c"], "initial": ["0", "1.0"], "where": ["True", "x > 0"]}
INDEX = ["0", "-1", "2", "7", "-4", ":", "1:", ":-1", "::2", "::-1", "::-2", "2::-1", "-1:0:-1", "0:2", "5:", "::0",
         "...", "None", "[0, 1]", "[0, -1]", "[1]", "[]", "[[0], [1]]", "[5]",
         "np.array([1, 0, 1])", "np.array(1)", "np.array([True, False, True])", "[True, False]", "True",
         "np.array([[True, False, True], [False, True, True]])", "np.ones((3, 3), bool)",
         "np.int64(1)", "np.uint8([1, 0])", "1.0", "[0.5]", "'a'", "(0, 1)", "i", "j", "np.argmax(x)", "x > 0", "i[0]",
         "slice(None, 2)", "True:", "range(2)", "np.s_[1:2]"]
SHAPE = ["-1", "(-1,)", "(3, -1)", "(2, 3)", "6", "(1, -1, 3)", "(0, -1)", "[3, 2]", "x.shape", "(-1, -1)",
         "x.shape[::-1]", "(3.0, 2)", "(-2,)", "()", "np.int64(6)", "np.array([2, 3])"]
PROGRAMS = ["z = x\nz {op}= {other}\nreturn {end}", "z = x[0]\nz {op}= {other}\nreturn {end}",
            "z = x + 0\nv = z[:1]\nz {op}= {other}\nreturn v + z", "z = x.copy()\nz {op}= {other}\nreturn {end}",
            "z = np.exp(x)\nz {op}= {other}\nreturn z", "z = x.T\nz {op}= {other}\nreturn {end}",
            "z = x[[0]]\nz {op}= {other}\nreturn {end}", "z = x.sum()\nw = z\nz {op}= {other}\nreturn z * w",
            "z = +x\nz {op}= {other}\nreturn {end}", "z = x.astype(x.dtype)\nz {op}= {other}\nreturn {end}",
            "z = x.flatten()\nz {op}= {other}\nreturn {end}", "z = x.reshape(-1)\nz {op}= {other}\nreturn {end}",
            "x[0] = {other}\nreturn x", "x[0] {op}= {other}\nreturn x",
            "z = np.broadcast_to(x, x.shape)\nz {op}= {other}\nreturn {end}",
            "z = -x\nw = z\nz {op}= {other}\nreturn w",
            "z = x\nz {op}= {other}\nz {op}= {other}\nreturn z", "x.sort()\nreturn x",
            "z = np.sort(x)\nz {op}= {other}\nreturn z", "w = [x, x]\nw {op}= {other}\nreturn w[0]"]

other = st.sampled_from(OTHERS)
axis = st.sampled_from(AXIS)


def joined(*strategies):
    return st.tuples(*strategies).map("".join)


def calls_of(name, *arguments, **options):
    """A function of x, with arguments that are texts, and some keywords."""
    return text_of("return np.{name}(x{arguments}{options})", name=st.just(name), options=keywords(**options),
                   arguments=joined(*(st.sampled_from(a).map(lambda text: f", {text}") for a in arguments)))


FAMILIES = {
    "unary ufuncs": text_of("return {f}(x{options})", f=st.sampled_from(UNARY),
                            options=st.one_of(st.just(""), st.just(""),
                                              keywords(dtype=["np.float32", "float"], where=["True", "x > 0"],
                                                       out=["None"], casting=["'unsafe'"]))),
    "binary ufuncs": text_of("return {f}({a}, {b})", f=st.sampled_from(BINARY), a=one_of("x", "x", "y"), b=other),
    "binary ufuncs, swapped": text_of("return {f}({b}, x)", f=st.sampled_from(BINARY), b=other),
    "operators": text_of("return x {op} {b}", op=st.sampled_from(OPERATORS), b=other),
    "operators, swapped": text_of("return {b} {op} x", op=st.sampled_from(OPERATORS), b=other),
    "prefixes": text_of("return {op}x{rest}", op=one_of("-", "+", "~", "abs(-", "not "),
                        rest=one_of(")", "")).filter(lambda t: t.count("(") == t.count(")")),
    "builtins": text_of("return {f}", f=one_of("round(x)", "round(x[0], 1)", "sum(x)", "sum(x, 1.0)", "max(x)",
                                               "min(x, 0)", "len(x) * x", "divmod(x, 2)", "divmod(7, x)", "pow(x, 2)",
                                               "pow(x, 2, 3)", "list(x)",
                                               "tuple(reversed(x))", "[a * 2 for a in x]", "float(x)", "int(x)",
                                               "complex(x)", "bool(x)", "x.item()", "x.item(0)", "x.tolist()",
                                               "f'{x:.2f}'", "str(x)", "sorted(x)",
                                               "any(x)", "x in [1]", "1 in x", "hash(x)", "__import__('math').floor(x)",
                                               "__import__('math').trunc(x)", "__import__('math').ceil(x)",
                                               "x if x.ndim else -x",
                                               "x * (x.dtype == np.float32)", "x * (x.dtype.kind == 'f')",
                                               "x * np.issubdtype(x.dtype, np.integer)", "x * (x.dtype == 'float64')",
                                               "x * np.finfo(x.dtype).bits",
                                               "np.array([x, x])", "np.asarray(x)", "np.array(x)", "x.shape[0] * x",
                                               "x * x.size", "x.nbytes * x", "x.real", "next(iter(x))",
                                               "np.full((2,), x)", "np.linspace(0, x, 3)",
                                               "np.arange(x)", "np.zeros(x)", "np.iscomplexobj(x) * x",
                                               "x + np.zeros(x.shape, x.dtype)", "x * np.zeros_like(x)",
                                               "np.ones_like(x, dtype='f4') + x")),
    "sums": st.one_of(*(calls_of(name, **REDUCED)
                        for name in ("sum", "prod", "mean", "max", "min", "amax", "amin", "any", "all"))),
    "sums by method": text_of("return x.{f}({a}{options})", f=one_of("sum", "prod", "mean", "max", "min"),
                              a=st.sampled_from(AXIS), options=keywords(keepdims=["True"], dtype=["float"])),
    "spreads": st.one_of(*(calls_of(name, axis=AXIS, keepdims=["True"], ddof=["0", "1", "1.0", "0.5"],
                                    dtype=["float", "'f4'"], correction=["1"], mean=["0.0"])
                           for name in ("var", "std"))),
    "positions": st.one_of(*(calls_of(name, axis=AXIS, keepdims=["True", "False"], out=["None"])
                             for name in ("argmax", "argmin"))),
    "running": st.one_of(*(calls_of(name, axis=AXIS, dtype=["float", "'f4'", "int"], out=["None"])
                           for name in ("cumsum", "cumprod", "cumulative_sum", "cumulative_prod"))),
    "running, standard": calls_of("cumulative_sum", axis=AXIS, include_initial=["True", "False"]),
    "norms": calls_of("linalg.norm", ord=["None", "1", "2", "-1", "-2", "np.inf", "-np.inf", "'fro'", "'nuc'", "0", "3",
                                          "0.5", "'x'"], axis=[*AXIS, "(1, 0)", "(0, 2)", "(-1, -2)"],
                      keepdims=["True"]),
    "vector norms": calls_of("linalg.vector_norm", ord=["1", "2", "np.inf", "-np.inf", "0", "3", "'fro'"], axis=AXIS,
                             keepdims=["True"]),
    "matrix norms": calls_of("linalg.matrix_norm",
                             ord=["'fro'", "'nuc'", "1", "-1", "2", "-2", "np.inf", "-np.inf", "3"], keepdims=["True"]),
    "dots": text_of("return {f}",
                    f=text_of("np.{f}({a}, {b})", f=one_of("dot", "outer", "inner", "vdot", "kron", "cross",
                                                           "tensordot"), a=one_of("x", "y"), b=other)),
    "dots, swapped": text_of("return np.{f}({b}, x)", f=one_of("dot", "outer"), b=other),
    "einsum": text_of("return np.einsum('{e}', x, {b})", e=one_of("ij,jk->ik", "ij,jk", "i,i", "i,i->", "ij,ij->i",
                                                                  "...i,i", "ii,ij->j", "ij , ij", "i,j->ji", "ijk,ijk",
                                                                  "ji,ij", "bij,bjk->bik"), b=other),
    "einsum of one": text_of("return np.einsum('{e}', x{o})",
                             e=one_of("ij->ji", "ji", "ii", "ii->i", "ij->", "i->i", "...ij->...ji", "ijk->kij",
                                      "ij->i", "kji"), o=keywords(optimize=["True"], dtype=["float"])),
    "traces": st.one_of(calls_of("trace", offset=["0", "1", "-1", "5", "1.0"], axis1=["0", "1", "-1", "2"],
                                 axis2=["0", "1", "-1", "2"], dtype=["float", "'f4'"]),
                        calls_of("diagonal", offset=["0", "1", "-1", "5"], axis1=["0", "1", "-1", "2"],
                                 axis2=["0", "1", "-1", "2"]),
                        calls_of("linalg.trace", offset=["0", "1"], dtype=["float"]),
                        calls_of("linalg.diagonal", offset=["0", "-1"])),
    "traces by method": text_of("return x.{f}({o})", f=one_of("trace", "diagonal"),
                                o=one_of("", "1", "0, 1, 2", "0, 2, 1", "-1")),
    "axes": st.one_of(calls_of("transpose", axes=["None", "(1, 0)", "(0, 2, 1)", "(-1, 0)", "[1, 0]", "0", "(0, 0)",
                                                  "(2, 0, 1)", "(0,)"]),
                      calls_of("swapaxes", ["0", "1", "-1", "2", "-4", "5"], ["0", "1", "-1", "-2"]),
                      calls_of("moveaxis", ["0", "1", "-1", "(0, 1)", "[0, 2]", "5", "(0, 0)"],
                               ["-1", "0", "(1, 0)", "(-1, 0)", "-7"]), calls_of("matrix_transpose"),
                      calls_of("permute_dims", ["(1, 0)", "(1, 2, 0)"]),
                      calls_of("squeeze", axis=AXIS), calls_of("expand_dims", [*AXIS, "(0, 2)", "-3"]),
                      calls_of("rollaxis", ["1", "2"])),
    "axes by method": text_of("return x.{f}", f=one_of("T", "mT", "transpose()", "transpose(1, 0)", "transpose((1, 0))",
                                                       "transpose(None)", "transpose(0, 2, 1)", "transpose(-1, 0)",
                                                       "squeeze()", "squeeze(0)", "squeeze(axis=(0,))",
                                                       "swapaxes(0, 1)", "ravel()", "ravel('F')", "flatten()",
                                                       "flatten('F')", "copy()", "copy('F')", "flatten(order='C')")),
    "reshapes": st.one_of(calls_of("reshape", SHAPE, order=["'C'", "'F'", "'A'"], copy=["None", "True"]),
                          calls_of("ravel", order=["'C'", "'F'"]),
                          calls_of("broadcast_to", [*SHAPE, "3", "(4, 3)", "(3, 3)", "(1,)", "(3, 2, 3)"])),
    "reshapes by method": text_of("return x.reshape({s}{o})",
                                  s=st.sampled_from([*SHAPE, "2, 3", "3, -1", "-1, 1", "np.int64(3), -1", "*x.shape"]),
                                  o=keywords(order=["'C'", "'F'"])),
    "joins": text_of("return np.{f}({xs}{o})", f=one_of("concatenate", "stack", "vstack", "hstack", "concat"),
                     xs=one_of("[x, y]", "(x, c)", "[x]", "x", "[x, x, x]", "[c, x]", "[x, 1.0]", "[x, [1, 2, 3]]",
                               "[x, x[:1]]", "[1, x]"),
                     o=keywords(axis=["0", "1", "-1", "None", "2", "-3"], dtype=["float", "'f4'", "int"],
                                casting=["'unsafe'", "'same_kind'"])),
    "splits": text_of("return np.{f}(x, {s}{o})", f=one_of("split", "split", "array_split"),
                      s=one_of("1", "2", "3", "[1]", "[1, 2]", "[2, 1]", "[-1]", "[0, 7]", "[]", "(1, 1)",
                               "np.array([1])", "[1.0]", "0"), o=keywords(axis=["0", "1", "-1", "5"])),
    "moves": st.one_of(calls_of("flip", axis=AXIS), calls_of("roll", ["1", "-1", "5", "(1, 2)", "1.0", "[1]", "0"],
                                                             axis=[*AXIS, "(1, 0)"]),
                       calls_of("tile", ["2", "(2, 1)", "[1, 2, 1]", "0", "()", "1.0", "(1, 1, 1, 2)"]),
                       calls_of("pad", ["1", "(1, 2)", "((1, 0), (0, 2))", "((1,), (2,))", "0", "-1", "1.0",
                                        "[[1, 1]]"], mode=["'constant'", "'edge'", "'wrap'"],
                                constant_values=["0", "0.0", "1", "(0, 0)"]),
                       calls_of("triu", k=["0", "1", "-1", "5"]), calls_of("tril", k=["0", "1", "-1"]),
                       calls_of("repeat", ["2"], axis=["0"]), calls_of("diff", n=["1"])),
    "where": text_of("return np.where({c}{o})", c=one_of("x > 0", "x", "x > y", "True", "c", "x == x",
                                                         "[True, False, True]"),
                     o=one_of("", ", x, 0", ", x, 0.5", ", 1, 0", ", 1.0, 0", ", x, y", ", x, c", ", 2, x", ", x",
                              ", x, np.float32(1)", ", x, None", ", True, False", ", x, True")),
    "clip": text_of("return np.clip(x{o})", o=one_of(", 0, 1", ", 0.0, 1.0", ", -0.5, None", ", None, 2",
                                                     ", None, None", "", ", y, None", ", c, 5", ", min=0", ", max=1.5",
                                                     ", min=0.0, max=1.0", ", 0, max=1", ", 1, 0", ", np.nan, 1",
                                                     ", np.float64(0), 1", ", -np.inf, 1",
                                                     ", np.float32(0), 1.0", ", [0, 1, 2], 3", ", 0, 1, out=None",
                                                     ", 0, 1, dtype=float", ", 0, 300", ", False, True")),
    "clip by method": text_of("return x.clip({o})", o=one_of("0, 1", "min=0", "max=0.5", "0.0", "c, None", "None, 1")),
    "rounds": st.one_of(calls_of("round", decimals=["0", "1", "2", "-1", "1.0", "None"], out=["None"]),
                        calls_of("around", ["1"]), calls_of("fix"), calls_of("sinc"), calls_of("isposinf"),
                        calls_of("isneginf"), calls_of("nan_to_num")),
    "take": calls_of("take", ["0", "[0, 1]", "[[0], [-1]]", "[5]", "i", "c", "[True]", "[0.0]", "[]", "x", "-1",
                              "np.array([1, 0])", "7"], axis=[*AXIS], mode=["'raise'", "'clip'", "'wrap'"],
                     out=["None"]),
    "take along": calls_of("take_along_axis", ["[[0, 1, 0]]", "np.zeros(x.shape, int)", "np.argsort(x)",
                                               "np.argmax(x, axis=-1, keepdims=True)", "np.zeros((1, 3), int)",
                                               "np.full(x.shape, 9)", "[0, 1]"], axis=["0", "1", "-1", "None", "5"]),
    "sorts": st.one_of(*(calls_of(name, axis=AXIS, kind=["'stable'", "'quicksort'", "None", "'x'"],
                                  stable=["True", "None"], order=["None"]) for name in ("sort",)),
                       calls_of("argsort",
                                ["kind='stable'", "stable=True", "-1, 'stable'", "None, 'stable'",
                                 "0, kind='stable'"])),
    "astype": text_of("return x.astype({t}{o})", t=one_of("float", "'f4'", "np.float16", "int", "bool", "'int8'",
                                                          "complex", "object", "'f8'", "None", "np.dtype('f4')", "str",
                                                          "'x'"),
                      o=keywords(copy=["False", "True"], casting=["'unsafe'", "'safe'", "'same_kind'"], order=["'C'"])),
    "sizes": text_of("return x * {f}", f=one_of("np.size(x)", "np.size(x, 0)", "np.size(x, -1)", "np.shape(x)[0]",
                                                "np.ndim(x)", "x.ndim", "np.size(x, (0, 1))", "len(x)",
                                                "np.size(x, 5)")),
    "indices": text_of("return x[{k}]",
                       k=st.lists(st.sampled_from(INDEX[:9] + INDEX), min_size=1, max_size=4).map(", ".join)),
    "in place": text_of("{p}",
                        p=st.sampled_from(PROGRAMS)).flatmap(lambda p: text_of(p,
                                                                               op=st.sampled_from([*OPERATORS[:8], "&",
                                                                                                   "<<"]), other=other,
                                                                               end=one_of("z", "x", "x + z", "z * 2"))),
    "linear algebra": text_of("return np.linalg.{f}", f=one_of("det(x)", "inv(x)", "slogdet(x)[1]", "slogdet(x).sign",
                                                               "slogdet(x).logabsdet", "solve(x, y)", "solve(x, x)",
                                                               "solve(x, c)", "cholesky(x @ x.mT + 3 * np.eye(3))",
                                                               "eigh(x + x.mT)[0]", "eigh(x + x.mT).eigenvalues",
                                                               "eigvalsh(x + x.mT)", "svd(x)[1]",
                                                               "svd(x, full_matrices=False)[1]",
                                                               "svd(x, full_matrices=False).S",
                                                               "svd(x, compute_uv=False)", "svdvals(x)",
                                                               "qr(np.abs(x))[1] ** 2", "qr(x).R ** 2",
                                                               "svd(x, False, False)", "svd(x, hermitian=True)",
                                                               "eigvalsh(x + x.mT, 'U')",
                                                               "cholesky(x @ x.mT + 3 * np.eye(3), upper=True)",
                                                               "matrix_rank(x)", "pinv(x)", "solve(x, [1.0, 2.0, 3.0])",
                                                               "qr(x, 'complete')", "matmul(x, x)", "outer(x, x)",
                                                               "inv(x + 3 * np.eye(3))")),
}


ON = {"spreads": [(2, 3), (3, 4, 2), (2, 2)], "indices": [(3,), (3, 3), (2, 3), (3, 4, 3), (3, 3, 2, 3)],
      "linear algebra": [(3, 3), (3, 3), (2, 3, 3), (2, 3), (3, 2), (3,), (1, 1), (2, 2)]}
"""Shapes that suit a family."""


@st.composite
def calls(draw, family):
    text = draw(FAMILIES[family])
    special = family not in ("linear algebra", "matrix norms", "norms", "einsum", "einsum of one", "dots")
    shapes = ON.get(family, SHAPES)
    made = {"x": draw(arrays(shapes, special=special))}
    if "y" in text:
        made["y"] = draw(st.one_of(arrays([made["x"].shape], [made["x"].dtype.name], special), arrays(special=special)))
    index = arrays([(), (2,), (3,), (2, 1)], ["int64", "int8", "uint8"])
    for name in "ij":
        if f"{name}[" in text or f" {name}" in text or f"[{name}" in text:
            made[name] = np.abs(draw(index)) % 2
    return Call(text, made, {"c": draw(arrays(special=special))})
