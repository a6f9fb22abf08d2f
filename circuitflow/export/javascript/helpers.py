"""Functions that a module of JavaScript defines where it uses them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

from circuitflow.engines.flat.routines import ROUTINES, Routine


def _polynomial(variable: str, coefficients: str) -> str:
    """A polynomial by Horner's rule, the constant first, in lines."""
    *others, text = coefficients.split()
    for number in reversed(others):
        text = f"{number} + {variable} * {f'({text})' if ' ' in text else text}"
    return "\n    ".join(textwrap.wrap(text, 100))


_NEAR = ("1.28379167095512558561e-1 -3.25042107247001499370e-1 -2.84817495755985104766e-2 -5.77027029648944159157e-3 "
         "-2.37630166566501626084e-5",
         "1 3.97917223959155352819e-1 6.50222499887672944485e-2 5.08130628187576562776e-3 1.32494738004321644526e-4 "
         "-3.96022827877536812320e-6")
_MIDDLE = ("-2.36211856075265944077e-3 4.14856118683748331666e-1 -3.72207876035701323847e-1 3.18346619901161753674e-1 "
           "-1.10894694282396677476e-1 3.54783043256182359371e-2 -2.16637559486879084300e-3",
           "1 1.06420880400844228286e-1 5.40397917702171048937e-1 7.18286544141962662868e-2 1.26171219808761642112e-1 "
           "1.36370839120290507362e-2 1.19844998467991074170e-2")
_TAIL = ("-9.86494403484714822705e-3 -6.93858572707181764372e-1 -1.05586262253232909814e1 -6.23753324503260060396e1 "
         "-1.62396669462573470355e2 -1.84605092906711035994e2 -8.12874355063065934246e1 -9.81432934416914548592",
         "1 1.96512716674392571292e1 1.37657754143519042600e2 4.34565877475229228821e2 6.45387271733267880336e2 "
         "4.29008140027567833386e2 1.08635005541779435134e2 6.57024977031928170135 -6.04244152148580987438e-2")
_FAR = ("-9.86494292470009928597e-3 -7.99283237680523006574e-1 -1.77579549177547519889e1 -1.60636384855821916062e2 "
        "-6.37566443368389627722e2 -1.02509513161107724954e3 -4.83519191608651397019e2",
        "1 3.03380607434824582924e1 3.25792512996573918826e2 1.53672958608443695994e3 3.19985821950859553908e3 "
        "2.55305040643316442583e3 4.74528541206955367215e2 -2.24409524465858183362e1")
"""Numerators and denominators of the error function, from `s_erf.c` of fdlibm: Copyright (C) 1993 by Sun Microsystems,
Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and
distribute this software is freely granted, provided that this notice is preserved."""

_BELOW_TWO = (
    "7.72156649015328655494e-2 3.22467033424113591611e-1 6.73523010531292681824e-2 2.05808084325167332806e-2 "
    "7.38555086081402883957e-3 2.89051383673415629091e-3 1.19270763183362067845e-3 5.10069792153511336608e-4 "
    "2.20862790713908385557e-4 1.08011567247583939954e-4 2.52144565451257326939e-5 4.48640949618915160150e-5")
_AT_LEAST = (
    "4.83836122723810047042e-1 -1.47587722994593911752e-1 6.46249402391333854778e-2 -3.27885410759859649565e-2 "
    "1.79706750811820387126e-2 -1.03142241298341437450e-2 6.10053870246291332635e-3 -3.68452016781138256760e-3 "
    "2.25964780900612472250e-3 -1.40346469989232843813e-3 8.81081882437654011382e-4 -5.38595305356740546715e-4 "
    "3.15632070903625950361e-4 -3.12754168375120860518e-4 3.35529192635519073543e-4")
_ABOVE_ONE = (
    "-7.72156649015328655494e-2 6.32827064025093366517e-1 1.45492250137234768737 9.77717527963372745603e-1 "
    "2.28963728064692451092e-1 1.33810918536787660377e-2",
    "1 2.45597793713041134822 2.12848976379893395361 7.69285150456672783825e-1 1.04222645593369134254e-1 "
    "3.21709242282423911810e-3")
_ABOVE_TWO = (
    "-7.72156649015328655494e-2 2.14982415960608852501e-1 3.25778796408930981787e-1 1.46350472652464452805e-1 "
    "2.66422703033638609560e-2 1.84028451407337715652e-3 3.19475326584100867617e-5",
    "1 1.39200533467621045958 7.21935547567138069525e-1 1.71933865632803078993e-1 1.86459191715652901344e-2 "
    "7.77942496381893596434e-4 7.32668430744625636189e-6")
_STIRLING = (
    "8.33333333333329678849e-2 -2.77777777728775536470e-3 7.93650558643019558500e-4 -5.95187557450339963135e-4 "
    "8.36339918996282139126e-4 -1.63092934096575273989e-3")
"""Polynomials of the logarithm of the gamma function, from `e_lgamma_r.c` of fdlibm; the notice is the same."""


def _quotient(variable: str, above: str, below: str) -> str:
    return f"({_polynomial(variable, above)}) /\n    ({_polynomial(variable, below)})"


_ERF = [
    ("erf_near", "z", "(erf(x) - x) / x, for z = x^2 and |x| < 0.84375", f"return {_quotient('z', *_NEAR)};"),
    ("erf_middle", "s", "erf(1 + s) - 0.845062911510467529, for |x| < 1.25", f"return {_quotient('s', *_MIDDLE)};"),
    ("erf_tail", "x", "1 - erf(x), for x from 1.25 on; x^2 is in two parts, so that its rounding does not grow",
     f"""const first = Math.fround(x), s = 1 / (x * x);
  const rest = x < 2.857142857142857 ? {_quotient('s', *_TAIL)} :
    {_quotient('s', *_FAR)};
  return Math.exp(-first * first - 0.5625) * Math.exp((first - x) * (first + x) + rest) / x;"""),
]

_LGAMMA = [
    ("lgamma_below_two", "y", "ln gamma(2 - y), for y from 0 to 0.27",
     f"return y * ({_polynomial('y', _BELOW_TWO)}) - 0.5 * y;"),
    ("lgamma_at_least", "x", "ln gamma(1 + x), beside its least value", f"""const y = x - 0.46163214496836225;
  return -1.21486290535849611461e-1 + (3.63867699703950536541e-18 + y * y * (
    {_polynomial('y', _AT_LEAST)}));"""),
    ("lgamma_above_one", "y", "ln gamma(1 + y), for y from 0 to 0.23",
     f"return y * {_quotient('y', *_ABOVE_ONE)} - 0.5 * y;"),
    ("lgamma_above_two", "y", "ln gamma(2 + y), for y from 0 to 1",
     f"return y * {_quotient('y', *_ABOVE_TWO)} + 0.5 * y;"),
    ("lgamma_stirling", "z", "the terms of Stirling's series from the first on, over 1 / x, for z = 1 / x^2",
     f"return {_polynomial('z', _STIRLING)};"),
]

_BODIES = {
    "maximum": ("a, b", "the larger of two numbers; NaN where one is", "return a > b || a !== a ? a : b;"),
    "minimum": ("a, b", "the smaller of two numbers; NaN where one is", "return a < b || a !== a ? a : b;"),
    "at_least": ("a, b", "a number, but no less than a bound", "return a < b ? b : a;"),
    "at_most": ("a, b", "a number, but no more than a bound", "return a > b ? b : a;"),
    "sign": ("x", "1, 0 or -1; NaN for NaN", "return x > 0 ? 1 : x < 0 ? -1 : x + 0;"),
    "remainder": ("x, y", "the remainder with the sign of the divisor", """const rest = x % y;
  if (rest === 0) {
    return y < 0 || Object.is(y, -0) ? -0 : 0;
  }
  return (rest < 0) !== (y < 0) ? rest + y : rest;"""),
    "logaddexp": ("x, y", "ln(e^x + e^y), without overflow", """if (x === y) {
    return x + 0.6931471805599453;
  }
  const d = x - y;
  return d > 0 ? x + Math.log1p(Math.exp(-d)) : d <= 0 ? y + Math.log1p(Math.exp(d)) : d;"""),
    "power": ("x, y", "x to the power of y; as in C, 1 where x is 1, or where x is -1 and y infinite",
              "return x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;"),
    "rint": ("x", "the nearest whole number, the even one of two", """const big = 4503599627370496;
  if (x === 0 || !(Math.abs(x) < big)) {
    return x;
  }
  return x < 0 ? -((big - x) - big) : (x + big) - big;"""),
    "erf": ("x", "the error function, by rational approximations of fdlibm (Sun Microsystems 1993, s_erf.c)",
            """const a = Math.abs(x);
  if (!(a >= 0.84375)) {
    return x + x * erf_near_(x * x);
  }
  const rest = a < 1.25 ? 0.154937088489532471 - erf_middle_(a - 1) : a < 6 ? erf_tail_(a) : 0;
  return x > 0 ? 1 - rest : rest - 1;"""),
    "erfc": ("x", "1 - erf(x), by rational approximations of fdlibm", """const a = Math.abs(x);
  if (!(a >= 0.84375)) {
    const more = x * erf_near_(x * x);
    return x < 0.25 ? 1 - (x + more) : 0.5 - (x - 0.5 + more);
  }
  const rest = a < 1.25 ? 0.154937088489532471 - erf_middle_(a - 1) : a < 28 ? erf_tail_(a) : 0;
  return x > 0 ? rest : 2 - rest;"""),
    **{name: (operand, words, body) for name, operand, words, body in _ERF},
    "lgamma": ("x", "ln |gamma(x)|, by rational approximations of fdlibm (e_lgamma_r.c)", """if (x <= 0) {
    const rest = x - Math.round(x);
    return rest === 0 || x === -Infinity ? Infinity :
      Math.log(Math.PI / Math.abs(x * Math.sin(Math.PI * rest))) - lgamma_(-x);
  }
  if (x < 2) {
    const low = x <= 0.9, y = low ? x : x - 1, first = low ? -Math.log(x) : 0;
    return first + (y >= 0.7316 ? lgamma_below_two_(1 - y) : y >= 0.2316 ? lgamma_at_least_(y) : lgamma_above_one_(y));
  }
  if (x < 8) {
    const whole = Math.floor(x);
    let product = 1;
    for (let k = 2; k < whole; k++) {
      product = product * (x - whole + k);
    }
    return lgamma_above_two_(x - whole) + Math.log(product);
  }
  const z = 1 / x;
  return (x - 0.5) * (Math.log(x) - 1) + (0.418938533204672725052 + z * lgamma_stirling_(z * z));"""),
    **{name: (operand, words, body) for name, operand, words, body in _LGAMMA},
    "murmur": ("x", "the finaliser of MurmurHash3 on 32 bits", """let h = x | 0;
  h = Math.imul(h ^ h >>> 16, 0x85EBCA6B);
  h = Math.imul(h ^ h >>> 13, 0xC2B2AE35);
  return (h ^ h >>> 16) >>> 0;"""),
    **{name: ("x, y", f"{words} of whole numbers", f"""const whole = 4294967296;
  const high = Math.floor(x / whole) {sign} Math.floor(y / whole);
  return high * whole + (((x | 0) {sign} (y | 0)) >>> 0);""") for name, sign, words in (
      ("bitwise_and", "&", "the bits in both"), ("bitwise_or", "|", "the bits in either"),
      ("bitwise_xor", "^", "the bits in one"))},
    "needs_array": ("x, kind, size, name", "refuses what is no array of a kind and size", """if (!(x instanceof kind)) {
    throw new TypeError(`${name} is no ${kind.name}`);
  }
  if (x.length !== size) {
    throw new RangeError(`${name} has ${x.length} numbers; expected ${size}`);
  }"""),
    "needs_number": ("x, kind, name", "refuses what is no number, or no truth value", """if (typeof x !== kind) {
    throw new TypeError(`${name} is no ${kind}`);
  }"""),
    "needs_whole": ("x, name", "refuses numbers that are not whole", """const numbers = typeof x === "number" ? [x] : x;
  for (const number of numbers) {
    if (!Number.isSafeInteger(number)) {
      throw new RangeError(`${name} has the number ${number}; expected whole numbers up to 2^53`);
    }
  }"""),
    "isinf": ("x", "whether a number is infinite", "return x === Infinity || x === -Infinity;"),
    "signbit": ("x", "whether a number has a minus sign", "return x < 0 || Object.is(x, -0);"),
    "whole": ("x", "a whole number, refused where it is not held exactly", """if (!Number.isSafeInteger(x)) {
    throw new RangeError("an integer beyond 2^53, which a number does not hold");
  }
  return x;"""),
    "product_kept": ("x, y", "a product in which 0 times an infinity or NaN is 0",
                     "return x === 0 || y === 0 ? 0 : x * y;"),
    "product_keptf": ("x, y", "a product in which 0 times an infinity or NaN is 0",
                      "return x === 0 || y === 0 ? 0 : Math.fround(x * y);"),
    **{f"order_{kind}": ("keys, order, spare, size", "the stable order of keys, NaN last",
                         """const places = Array.from({length: size}, (_, i) => i);
  places.sort((a, b) => keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 :
    Number(Number.isNaN(keys[a])) - Number(Number.isNaN(keys[b])));
  order.set(places);""") for kind in "df"},
}



def _routine(name: str, routine: Routine) -> str:
    """A routine as JavaScript has it."""
    body = re.sub(r"\b(const )?(int|double) (?=\w+ = )", lambda match: match[1] or "let ", routine.body)
    body = re.sub(r"\b(hypot|sqrt|log|pow)\(", r"Math.\1(", body).replace("fabs(", "Math.abs(")
    body = re.sub(r"([!=])= ", r"\1== ", re.sub(r"\b(\d+)\.0\b", r"\1", body))
    lines = (re.sub("^(    )+", lambda match: "  " * (len(match[0]) // 4), line) for line in body.splitlines())
    inside = "\n".join(line for line in lines if line.strip())
    parameters = ", ".join([*routine.arrays, *routine.sizes, *routine.numbers])
    return f"/* {routine.words} */\nfunction {name}_({parameters}) {{\n{inside}\n}}"


HELPERS: Mapping[str, str] = {
    **{name: _routine(name, routine) for name, routine in ROUTINES.items()}, **{
    name: f"/* {words} */\nfunction {name}_({operands}) {{\n  {body}\n}}"
    for name, (operands, words, body) in _BODIES.items()}}
"""Their source, by name. Each name has an underscore behind it, which no other name ends with but a reserved word."""

NEEDED = {"erf": [name for name, *_ in _ERF], "erfc": [name for name, *_ in _ERF],
          "lgamma": [name for name, *_ in _LGAMMA]}
"""Helpers that call others."""
