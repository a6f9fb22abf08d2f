"""Arithmetic, element by element."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any

from pydantic import Field, model_validator

from circuitflow.gates.factors import additive, divide_out, of_power, of_square, proportional
from circuitflow.gates.integers import divisible, exact_by_element
from circuitflow.gates.record import FIRST_OF_TIES, AtLeast, Attributes, Facets, Gate, Note, Onnx, Reads, Ties, family
from circuitflow.gates.shapes import elementwise, floating, has_signed_zeros, need_number, same
from circuitflow.gates.special import keep_zeros
from circuitflow.gates.sums import add_all, mean


class Bounds(Attributes):
    min: float | None = Field(None, description="lower bound; none by default")
    max: float | None = Field(None, description="upper bound; none by default")

    @model_validator(mode="after")
    def _check_order(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def _product(xs: Any) -> Any:
    return functools.reduce(operator.mul, xs)


def _mul_backward(op: Any, g: Any, out: Any, *xs: Any) -> tuple[Any, ...]:
    """The product of the others, from both ends: exact where operands are zero, and linear in their number.

    Three others or more may overflow before a 0 among them is reached, whose product is 0 all the same.
    """
    if len(xs) <= 3:
        onward, join = operator.mul, operator.mul
    else:
        def onward(product: Any, x: Any) -> Any:
            return op.mul_no_nan(x, product)

        def join(b: Any, a: Any) -> Any:
            return op.where(b == 0, op.mul_no_nan(b, a), op.mul_no_nan(a, b))

    before = list(itertools.accumulate(xs[:-1], onward))
    after = list(itertools.accumulate(xs[:0:-1], onward))[::-1]
    return (g * after[0], *(g * join(b, a) for b, a in zip(before, after[1:], strict=False)), g * before[-1])


def _route(op: Any, g: Any, out: Any, *xs: Any, ties: str) -> tuple[Any, ...]:
    """All of the gradient to the operands that are the output; where the output is NaN, to the NaN operands."""
    if ties == "share":
        is_output = [op.equal_nan(x, out) for x in xs]
        g = g / functools.reduce(operator.add, [op.where(c, op.ones_like(g), 0.0) for c in is_output])
        return tuple(op.where(c, g, 0.0) for c in is_output)
    gradients = []
    for x in xs[:-1]:
        here = op.equal_nan(x, out)
        gradients.append(op.where(here, g, 0.0))
        g = op.where(here, 0.0, g)
    return (*gradients, g)


def _extreme(xp: Any, x: Any, y: Any, *, sign: int) -> Any:
    """`maximum`, or with the sign -1 `minimum`, of IEEE 754-2019: 0 is larger than -0. NumPy and torch give either."""
    out = (xp.maximum if sign > 0 else xp.minimum)(x, y)
    if not has_signed_zeros(out):
        return out
    return xp.where((x == 0) & (y == 0), x + y if sign > 0 else -(-x - y), out)


def _number_type(x: Any) -> Any:
    need_number("x", x)
    return x


def _clip_backward(op: Any, g: Any, out: Any, x: Any, *, min: float | None, max: float | None) -> Any:  # noqa: A002
    for inside in ([] if min is None else [x >= min]) + ([] if max is None else [x <= max]):
        g = op.where(inside, g, 0.0)
    return g


def _pow(xp: Any, x: Any, y: Any) -> Any:
    """The power of IEEE 754. For the exponent 1/2 NumPy takes the square root, which differs from it at -0 and -∞."""
    out = x**y
    if type(y).__module__ == "numpy" and (y == 0.5).any():
        return xp.where(((x == 0) | (x == -math.inf)) & (y == 0.5), xp.abs(x), out)
    return out


def _pow_x(op: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """The slope y · x^(y-1), and 0 for the exponent 0 whatever x is."""
    constant = y == 0
    return op.mul_no_nan(g, op.where(constant, 0.0, y * op.pow(x, op.where(constant, 1.0, y - 1))))


def _pow_y(op: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """The slope x^y · ln x. For the base 0 it is -∞ below the exponent 0, and 0 from there on.

    The factor 1 for positive exponents gives the slope there the derivative in x that the slope in x has in y.
    """
    at_zero = op.where(y < 0, -math.inf, op.sign(y))
    return op.mul_no_nan(g, out * op.where(x == 0, at_zero, op.log(op.where(x == 0, 1.0, x))))


def _mul_div_no_nan(xp: Any, x: Any, y: Any, z: Any) -> Any:
    nothing = z == 0
    # XLA multiplies by 1 / z, which must not be subnormal. Beside so large a z the digits that y loses do not count.
    smaller = xp.where(xp.abs(z) > 1e30, 0.0625, xp.ones((), dtype=z.dtype))
    return xp.where(x == 0, 0.0, x * xp.where(nothing, 0.0, (y * smaller) / xp.where(nothing, 1.0, z * smaller)))


# What has the value of a gate of wires, where some of them are known numbers ------------------------------------------

def _mul_equal(op: Any, type_: Any, *xs: Any) -> Any:
    if len(xs) == 2:
        for x, y in (xs, xs[::-1]):
            if x.fill == -1 and y.type == type_:
                return -y
            if y.record.gate == "sign" and op.gates["sign"].facets is ARITHMETIC["sign"].facets:
                (length,) = y.record.operands.values()
                quotient = divide_out(op, x, op.abs(length))
                if quotient is not None:
                    return quotient * length
    return None


def _mul_no_nan_product(op: Any, at: int, x: Any, y: Any) -> Any:
    return keep_zeros(op, y, op.mul_no_nan(x, y)) if at else op.mul_no_nan(x, y)


def _mul_div_no_nan_product(op: Any, at: int, x: Any, y: Any, z: Any) -> Any:
    """Of a gradient with zeros of a mask, the derivative in y is 0 too where x is 0."""
    return op.mul_div_no_nan(x, y, z) if at else op.mul_no_nan(x, op.mul_div_no_nan(op.ones_like(x), y, z))


def _mul_div_no_nan_equal(op: Any, type_: Any, x: Any, y: Any, z: Any) -> Any:
    quotient = divide_out(op, x, z)
    return None if quotient is None else quotient * y


def _mul_no_nan_equal(op: Any, type_: Any, x: Any, y: Any) -> Any:
    if x.fill == 0:
        return x
    if x.fill == 1 or y.fill == 1:
        return y if x.fill == 1 else x
    return x * y if x.fill == x.fill or math.isfinite(y.fill) else None


ARITHMETIC = family({
    "add": Gate("x + y + …", "The sum; passes its gradient to every operand unchanged.",
                AtLeast(2), elementwise, symbol="+", broadcasts=True,
                forward=add_all,
                integers=exact_by_element,
                backward=lambda op, g, out, *xs: (g,) * len(xs)).stating(Facets(neutral=0.0, loop="sum",
                                                                                division=additive)),
    "sub": Gate("x - y", "The difference.",
                ("x", "y"), elementwise, symbol="-", broadcasts=True,
                forward=lambda xp, x, y: x - y,
                integers=exact_by_element,
                backward=(lambda op, g, out, x, y: g,
                          lambda op, g, out, x, y: -g),
                ).stating(Facets(last_neutral=0.0, division=additive,
                                 equal=lambda op, type_, x, y: -y if x.fill == 0 and y.type == type_ else None)),
    "mul": Gate("x · y · …", "The product; the gradient on each operand is the gradient times the other operands.",
                AtLeast(2), elementwise, symbol="*", broadcasts=True, reads=Reads.INPUTS,
                forward=lambda xp, *xs: _product(xs),
                integers=exact_by_element,
                backward=_mul_backward,
                ).stating(Facets(neutral=1.0, equal=_mul_equal, loop="product", division=proportional(None),
                                 product=lambda op, at, *xs: op.mul_no_nan(
                                     xs[at], _product([*xs[:at], *xs[at + 1 :]])))),
    "div": Gate("x / y", "The quotient.",
                ("x", "y"), floating, symbol="/", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                forward=lambda xp, x, y: x / y,
                backward=(lambda op, g, out, x, y: op.mul_no_nan(g, 1 / y),
                          lambda op, g, out, x, y: op.mul_no_nan(g, -out / y)),
                ).stating(Facets(last_neutral=1.0, product=lambda op, at, x, y: op.mul_no_nan(x, 1 / y),
                                 division=proportional(1))),
    "neg": Gate("-x", "The negative.",
                ("x",), _number_type, symbol="-",
                forward=lambda xp, x: -x,
                integers=exact_by_element,
                backward=(lambda op, g, out, x: -g,)).stating(Facets(undoes_itself=True, division=proportional(1))),
    "reciprocal": Gate("1 / x", "The reciprocal.",
                       ("x",), floating, symbol="1/x", reads=Reads.OUTPUT,
                       forward=lambda xp, x: 1 / x,
                       backward=(lambda op, g, out, x: op.mul_no_nan(g, -(out * out)),)),
    "pow": Gate("x^y", "The power; its derivative in x is 0 where the exponent is 0.",
                ("x", "y"), floating, symbol="^", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                forward=_pow,
                backward=(_pow_x,
                          _pow_y),
                ).stating(Facets(last_neutral=1.0, division=of_power)),
    "sqrt": Gate("√x", "The square root; its slope at 0 is infinite.",
                 ("x",), floating, symbol="√", reads=Reads.OUTPUT,
                 forward=lambda xp, x: xp.sqrt(x),
                 backward=(lambda op, g, out, x: op.mul_no_nan(g, 0.5 / out),)),
    "square": Gate("x²", "The square.",
                   ("x",), _number_type, symbol="x²", reads=Reads.INPUTS,
                   forward=lambda xp, x: x * x,
                   integers=exact_by_element,
                   backward=(lambda op, g, out, x: 2 * g * x,)).stating(Facets(division=of_square)),
    "hypot": Gate("√(x² + y²)", "The length of the hypotenuse, without overflow; its slope at (0, 0) is 0.",
                  ("x", "y"), floating, symbol="hypot", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                  forward=lambda xp, x, y: xp.hypot(x, y),
                  backward=(lambda op, g, out, x, y: op.mul_div_no_nan(g, x, out),
                            lambda op, g, out, x, y: op.mul_div_no_nan(g, y, out))),
    "mod": Gate("x - y ⌊x/y⌋", "The remainder, with the sign of the divisor.",
                ("x", "y"), elementwise, symbol="mod", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                forward=lambda xp, x, y: xp.remainder(x, y),
                integers=divisible,
                backward=(lambda op, g, out, x, y: g,
                          lambda op, g, out, x, y: op.mul_no_nan(g, -op.round((x - out) / y)))),
    "floor": Gate("⌊x⌋", "The largest integer that is not above x; its slope is 0.",
                  ("x",), floating, symbol="⌊x⌋",
                  forward=lambda xp, x: xp.floor(x),
                  backward=(None,)),
    "ceil": Gate("⌈x⌉", "The smallest integer that is not below x; its slope is 0.",
                 ("x",), floating, symbol="⌈x⌉",
                 forward=lambda xp, x: xp.ceil(x),
                 backward=(None,)),
    "round": Gate("⌊x⌉", "The nearest integer, the even one of two; its slope is 0.",
                  ("x",), floating, symbol="⌊x⌉",
                  forward=lambda xp, x: xp.round(x),
                  backward=(None,)),
    "mean": Gate("(x + y + …) / n", "The mean of the operands, element by element, without overflow.",
                 AtLeast(2), floating, symbol="mean", broadcasts=True,
                 forward=mean,
                 backward=lambda op, g, out, *xs: (g / len(xs),) * len(xs)),
    "abs": Gate("|x|", "The absolute value; its slope at 0 is 0.",
                ("x",), _number_type, symbol="|x|", reads=Reads.INPUTS,
                forward=lambda xp, x: xp.abs(x),
                integers=exact_by_element,
                backward=(lambda op, g, out, x: g * op.sign(x),)),
    "sign": Gate("sign x", "-1, 0 or 1; its slope is 0.",
                 ("x",), _number_type, symbol="sgn",
                 forward=lambda xp, x: xp.sign(x),
                 backward=(None,)),
    "max": Gate("max(x, y, …)", "The largest; routes the whole gradient to it.",
                AtLeast(2), elementwise, attributes=Ties, symbol="max", broadcasts=True,
                reads=Reads.INPUTS | Reads.OUTPUT,
                forward=lambda xp, *xs, ties: functools.reduce(functools.partial(_extreme, xp, sign=1), xs),
                backward=_route),
    "min": Gate("min(x, y, …)", "The smallest; routes the whole gradient to it.",
                AtLeast(2), elementwise, attributes=Ties, symbol="min", broadcasts=True,
                reads=Reads.INPUTS | Reads.OUTPUT,
                forward=lambda xp, *xs, ties: functools.reduce(functools.partial(_extreme, xp, sign=-1), xs),
                backward=_route),
    "clip": Gate("min(max(x, min), max)", "x kept between two bounds; its slope is 1 from bound to bound, else 0.",
                 ("x",), floating, attributes=Bounds, symbol="clip", reads=Reads.INPUTS,
                 forward=lambda xp, x, *, min, max: xp.clip(x, min, max),  # noqa: A006
                 backward=(_clip_backward,)),
    "mul_no_nan": Gate("x · y, 0 where x = 0",
                       "The product, but 0 where x is 0, even if y is infinite or NaN. Backward rules use it, so a "
                       "gradient of 0 stays 0 where a slope is infinite.",
                       ("x", "y"), floating, symbol="*", broadcasts=True, reads=Reads.INPUTS,
                       forward=lambda xp, x, y: xp.where(x == 0, 0.0, x * y),
                       backward=(lambda op, g, out, x, y: op.mul_no_nan(g, y),
                                 lambda op, g, out, x, y: op.mul_no_nan(x, g)),
                       ).stating(Facets(equal=_mul_no_nan_equal, masks=lambda at, count: at == 1,
                                        product=_mul_no_nan_product, division=proportional(2))),
    "mul_div_no_nan": Gate("x · y / z, 0 where x = 0 or z = 0",
                           "x · (y / z), but 0 where x or z is 0: the gradient that a length z sends to its side y. "
                           "Where z is 0, its derivative in y is infinite or NaN.",
                           ("x", "y", "z"), floating, symbol="*", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                           forward=_mul_div_no_nan,
                           backward=(lambda op, g, out, x, y, z: op.mul_div_no_nan(g, y, z),
                                     lambda op, g, out, x, y, z: op.mul_no_nan(g, x / z),
                                     lambda op, g, out, x, y, z: op.mul_no_nan(g, -out / z)),
                           ).stating(Facets(equal=_mul_div_no_nan_equal, product=_mul_div_no_nan_product,
                                            division=proportional(2))),
    "identity": Gate("x", "The operand itself.",
                     ("x",), same, symbol="id",
                     forward=lambda xp, x: x,
                     backward=(lambda op, g, out, x: g,)).stating(Facets(keeps=True)),
    "stop_gradient": Gate("x", "The operand itself; lets no gradient through.",
                          ("x",), same, symbol="stop",
                          forward=lambda xp, x: x,
                          backward=(None,)),
}, {
    "add": Note("{g} to {operands}", onnx=Onnx("Add"), numpy="add", also="plus addition +",
                words="passes its gradient to every operand unchanged", elements="reduce_sum", notation="+"),
    "sub": Note("{g} to {x}, -{g} to {y}", onnx=Onnx("Sub"), numpy="subtract", also="minus difference subtraction -",
                words="passes its gradient to {x} unchanged, and to {y} with the sign turned", notation="-"),
    "mul": Note("{g} times the product of the others, to {operands}",
                kinks="exact where operands are 0, also beside others whose product overflows",
                onnx=Onnx("Mul"), numpy="multiply", also="times hadamard * · × ⋅ ∗",
                words="sends each operand the gradient times all other operands", elements="reduce_prod",
                notation="*", dead="multiplies by 0"),
    "div": Note("{g} / {y} to {x}, -{g} · {out} / {y} to {y}", kinks="a gradient of 0 stays 0 where y is 0",
                onnx=Onnx("Div", dtypes="f"), numpy="divide",
                also="divided_by true_divide quotient over ratio truediv / ÷",
                words="sends {x} the gradient divided by {y}, and {y} the part by which a larger {y} shrinks the "
                      "quotient", notation="/"),
    "neg": Note("-{g} to {x}", onnx=Onnx("Neg"), numpy="negative",
                also="unary_minus negate negation opposite additive_inverse", words="turns the sign of its gradient",
                notation="-{}"),
    "reciprocal": Note("-{g} · {out}² to {x}", kinks="a gradient of 0 stays 0 where x is 0", onnx=Onnx("Reciprocal"),
                       numpy="reciprocal", also="inverse_of one_over multiplicative_inverse",
                       words="scales its gradient by minus the square of its output", notation="1 / {}"),
    "pow": Note("{g} · {y} · {x}^({y} - 1) to {x}, {g} · {out} · ln {x} to {y}",
                kinks="0 in x where the exponent is 0; NaN in y for x < 0", onnx=Onnx("Pow", dtypes="f"), numpy="power",
                also="float_power exponentiate raise to_the_power powi powf **",
                words="scales its gradient by the slope of the power: exponent times base to one power less",
                notation="**"),
    "sqrt": Note("{g} / (2 {out}) to {x}", kinks="infinite at 0, but a gradient of 0 stays 0", onnx=Onnx("Sqrt"),
                 numpy="sqrt", also="square_root root √", words="divides its gradient by twice its output",
                 formula="own"),
    "square": Note("2 {g} {x} to {x}", numpy="square", also="squared sqr sq ²",
                   words="scales its gradient by twice its operand", formula="own", dead="has slope 0 at 0"),
    "hypot": Note("{g} · {x} / {out} to {x}, {g} · {y} / {out} to {y}", kinks="0 at the origin", numpy="hypot",
                  also="hypotenuse", formula="own"),
    "mod": Note("{g} to {x}, -{g} ⌊{x} / {y}⌋ to {y}", kinks="at a jump, the slope beside it",
                onnx=Onnx("Mod", settings={"fmod": 0}, dtypes="iu"), numpy="remainder",
                also="modulo modulus floor_mod remainder rem %", notation="%"),
    "floor": Note(kinks="0 also at the jumps", onnx=Onnx("Floor"), numpy="floor", also="round_down", formula="own"),
    "ceil": Note(kinks="0 also at the jumps", onnx=Onnx("Ceil"), numpy="ceil", also="ceiling round_up", formula="own"),
    "round": Note(kinks="0 also at the jumps; halves go to the even number", onnx=Onnx("Round"), numpy="round",
                  also="rint around nearest_integer", formula="own"),
    "mean": Note("{g} / n to {operands}", onnx=Onnx("Mean", written=""),
                 words="sends every operand an equal share of its gradient",
                 elements="reduce_mean"),
    "abs": Note("{g} · sign {x} to {x}", kinks="0 at 0", onnx=Onnx("Abs"), numpy="abs",
                also="absolute fabs absolute_value magnitude",
                words="passes its gradient on with the sign of its operand", formula="own", dead="has slope 0 at 0"),
    "sign": Note(kinks="0 also at 0", onnx=Onnx("Sign"), numpy="sign", also="sgn signum", formula="own"),
    "max": Note("{g} to the one of {all} that equals {out}", kinks=FIRST_OF_TIES, onnx=Onnx("Max"), numpy="maximum",
                words="routes its gradient to the largest operand", routes=True, elements="reduce_max",
                dead="takes another operand"),
    "min": Note("{g} to the one of {all} that equals {out}", kinks=FIRST_OF_TIES, onnx=Onnx("Min"), numpy="minimum",
                words="routes its gradient to the smallest operand", routes=True, elements="reduce_min",
                dead="takes another operand"),
    "clip": Note("{g} to {x} where it is inside the bounds, else 0", kinks="1 at a bound", onnx="Clip", numpy="clip",
                 also="clamp clip_by_value saturate",
                 words="lets its gradient through inside the bounds and stops it outside",
                 example={"min": 0, "max": 1}, formula="own", dead="is outside of its bounds"),
    "mul_no_nan": Note("as mul, by the same gate: {g} times {y} to {x}, {x} times {g} to {y}",
                       kinks="0 · ∞ and 0 · NaN are 0 where the 0 is x", also="multiply_no_nan", notation="*"),
    "mul_div_no_nan": Note("{g} · {y} / {z} to {x}, {g} · {x} / {z} to {y}, -{g} · {out} / {z} to {z}",
                           kinks="infinite or NaN where z is 0", also="div_no_nan", formula="x · y / z"),
    "identity": Note("{g} to {x}", onnx=Onnx("Identity"),
                     also="positive conj conjugate real resolve_conj conj_physical clone copy noop "
                          "linear_activation id", words="passes its gradient on unchanged", notation="{}"),
    "stop_gradient": Note(also="detach no_grad stop_grad freeze", words="lets no gradient through"),
})
