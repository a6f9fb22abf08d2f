"""einsum: every equation, layout and order of multiplication gives what NumPy's own loops give, and JAX's gradients."""

from __future__ import annotations

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.gates import GATES
from circuitflow.gates.sums import ALL_ORDERS, FEW, LITTLE, _order
from circuitflow.interpreter.libraries import JaxNumpy
from support.exported import function_of
from support.libraries import namespace
from support.slices import few

LETTERS = "abcde"


@st.composite
def equations(draw, most=4):
    """Terms and a result, none with a letter twice, and a size for every letter."""
    terms = draw(st.lists(st.text(LETTERS, max_size=3).filter(lambda term: len(set(term)) == len(term)), min_size=1,
                          max_size=most))
    present = sorted(set("".join(terms)))
    result = "".join(draw(st.lists(st.sampled_from(present), unique=True))) if present else ""
    sizes = {letter: draw(st.sampled_from([0, 1, 2, 3, FEW - 1, FEW])) for letter in present}
    return terms, result, sizes


def laid_out(x, layout):
    """An array of the same numbers, in other places of memory; of equal numbers along its first axis if broadcast."""
    if not x.ndim:
        return x
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "strided":
        wide = np.zeros([3 * size for size in x.shape])
        wide[(slice(None, None, 3),) * x.ndim] = x
        return wide[(slice(None, None, 3),) * x.ndim]
    if layout == "reversed":
        back = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[back])[back]
    return np.broadcast_to(x[:1], x.shape) if layout == "broadcast" and x.shape[0] else x


LAYOUTS = ["in rows", "transposed", "strided", "reversed", "broadcast"]


def operands(terms, sizes, layouts=()):
    random = np.random.default_rng(0)
    made = [np.asarray(random.standard_normal([sizes[letter] for letter in term])) for term in terms]
    return [laid_out(x, layout) for x, layout in itertools.zip_longest(made, layouts[: len(made)], fillvalue="in rows")]


def einsum(xs, equation, xp=np, gate="einsum"):
    with np.errstate(invalid="ignore"):
        return GATES[gate].forward(xp, *xs, equation=equation)


@settings(max_examples=few(150))
@given(equations(), st.lists(st.sampled_from(LAYOUTS), min_size=4, max_size=4))
@example((["abc", "cb", "bd"], "da", {"a": 1, "b": 2, "c": FEW, "d": 0}), ["in rows"] * 4)
@example((["ca", "abc"], "ac", {"a": 2, "b": 3, "c": FEW}), ["transposed", "broadcast", "in rows", "in rows"])
def test_any_equation(made, layouts):
    terms, result, sizes = made
    xs, equation = operands(terms, sizes, layouts), f"{','.join(terms)}->{result}"
    expected = np.einsum(equation, *xs, optimize=False)
    scale = np.einsum(equation, *map(np.abs, xs), optimize=False)
    for gate in ("einsum", "einsum_no_nan"):
        found = einsum(xs, equation, gate=gate)
        assert found.shape == expected.shape
        assert np.all(np.abs(found - expected) <= 1e-14 * scale)


SIZES = {"i": 3, "j": 2, "k": 4, "n": FEW + 1, "m": FEW - 1}
EQUATIONS = ["ijn,ijn->n", "ijn,jin->n", "in,n->n", "n,in->n", "jn,ijn->ni", "ijn,jn->in", "ijn,jkn->nik", "im,im->m",
             "ni,ij,nj->n", "kij,nkj->nki", "nki,kij,nkj->nk", "ij,jk,kn,ni->", "i,j,k,n,m,j->nm", "n,->n"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_values_and_gradients_are_those_of_jax(equation):
    """Interpreted, staged and exported, also where a size is a name."""
    left, _, result = equation.partition("->")
    terms = left.split(",")
    xs = operands(terms, SIZES)
    (upstream,) = operands([result], SIZES) if result else [np.asarray(1.0)]
    with jax.enable_x64(True):
        value, back = jax.vjp(lambda *xs: jnp.einsum(equation, *xs), *map(jnp.asarray, xs))
        expected = [value, *back(jnp.asarray(upstream))]
    for named in (False, True):
        circuit = cf.loads(json.dumps({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
            *({"id": f"x{i}", "gate": "input", "shape": ["n" if named and letter == "n" else SIZES[letter]
                                                         for letter in term]} for i, term in enumerate(terms)),
            {"id": "f", "gate": "einsum", "inputs": [f"x{i}" for i in range(len(terms))], "equation": equation}]}))
        inputs = {f"x{i}": x for i, x in enumerate(xs)}
        exported = function_of(cf.to_python(circuit))
        answers = [exported(**inputs, **({"df": upstream} if upstream.ndim else {})),
                   *(cf.Executor(circuit).compile(engine=engine)(inputs, upstream={"f": upstream})
                     for engine in ("interpreter", "staged"))]
        for found, gradients in answers:
            for one, other in zip([found, *(gradients[name] for name in inputs)], expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("gate", ["einsum", "einsum_no_nan"])
def test_sums_across_memory_keep_their_digits(name, gate):
    xp = np if name == "numpy" else JaxNumpy() if name == "jax" else namespace(name)
    tenth, many = np.float32(0.1), 30_000
    with jax.enable_x64(True):
        xs = [xp.asarray(np.full(shape, tenth)) for shape in [(many, FEW), (FEW,), (many, FEW)]]
        found = einsum(xs, "in,n,in->n", xp, gate)
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), many * float(tenth) ** 3, rtol=1e-6)


def test_floats_of_16_bits_are_multiplied_in_more():
    """300 · 300 is no float16."""
    x = np.full((2, FEW), 300, np.float16)
    found = einsum([x, x * np.asarray([[1], [-1]], np.float16)], "in,in->n")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.zeros(FEW))


@pytest.mark.parametrize("size", [1, FEW])
def test_zeros_are_kept_across_memory(size):
    x = np.repeat([[0.0], [2.0], [0.0]], size, axis=1)
    y = np.repeat([[math.inf], [3.0], [math.nan]], size, axis=1)
    np.testing.assert_array_equal(einsum([x, y], "in,in->n", gate="einsum_no_nan"), np.full(size, 6.0))


# Orders ---------------------------------------------------------------------------------------------------------------

def cost(terms, result, sizes, order):
    """The multiplications and the largest array of an order."""
    left, work, largest = list(map(set, terms)), 0, 0
    for pair in order:
        gone = [left.pop(i) for i in sorted(pair, reverse=True)]
        kept = set(result).union(*left)
        gone = [{letter for letter in one if letter in kept | other}
                for one, other in zip(gone, gone[::-1], strict=True)]
        left.append(set.union(*gone) & kept)
        work += math.prod(sizes[letter] for letter in set.union(*gone))
        largest = max(largest, math.prod(sizes[letter] for letter in left[-1]))
    return work, largest


def ordered(terms, result, sizes):
    return _order(tuple(terms), result, tuple(tuple(sizes[letter] for letter in term) for term in terms))


@settings(max_examples=few(60))
@given(equations(most=ALL_ORDERS).filter(lambda made: len(made[0]) > 1))
def test_no_order_of_numpy_multiplies_less(made):
    terms, result, sizes = made
    sizes = {letter: size + 1 for letter, size in sizes.items()}
    shapes = [np.broadcast_to(0.0, [sizes[letter] for letter in term]) for term in terms]
    for how in ("optimal", "greedy"):
        path = np.einsum_path(f"{','.join(terms)}->{result}", *shapes, optimize=how)[0][1:]
        if all(len(pair) == 2 for pair in path):
            assert cost(terms, result, sizes, ordered(terms, result, sizes))[0] <= cost(terms, result, sizes, path)[0]


def test_an_order_takes_no_memory_for_the_sake_of_time():
    """The one with half the multiplications would have an array of ten times the largest operand."""
    terms, sizes = ("ae", "edbf", "bac", "cde"), {"a": 100, "b": 30, "c": 3000, "d": 2, "e": 1000, "f": 2}
    most = max(LITTLE, 4 * max(math.prod(sizes[letter] for letter in term) for term in terms))
    work, largest = cost(terms, "bf", sizes, ordered(terms, "bf", sizes))
    quick = min(cost(terms, "bf", sizes, [*pairs, (0, 1)]) for pairs in itertools.product(
        itertools.combinations(range(4), 2), itertools.combinations(range(3), 2)))
    assert (largest <= most < quick[1], quick[0] < work) == (True, True)


def test_many_operands_are_ordered_soon():
    """As many as there are letters, in a ring; to go through all orders no time would be enough."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    terms = [letters[i - 1] + letters[i] for i in range(len(letters))]
    xs = operands(terms, dict.fromkeys(letters, 2))
    expected = np.trace(np.linalg.multi_dot(xs))
    np.testing.assert_allclose(einsum(xs, f"{','.join(terms)}->"), expected, rtol=1e-10)
