"""Functions that a module of JavaScript defines where it uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from circuitflow.engines.flat.routines import ROUTINES, Routine

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
    "erf": ("x", "the error function: its series in e^(-x^2) x^(2 n + 1), or what erfc leaves of 1",
            """if (Math.abs(x) >= 1) {
    return x > 0 ? 1 - erfc_(x) : erfc_(-x) - 1;
  }
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term = term * (2 * x * x) / (2 * n + 1);
    sum = sum + term;
  }
  return 1.1283791670955126 * gauss_(x) * sum;"""),
    "erfc": ("x", "1 - erf(x): its continued fraction, from the end (Abramowitz and Stegun 7.1.14)",
             """if (!(x >= 0.5)) {
    return x < -0.5 ? 2 - erfc_(-x) : 1 - erf_(x);
  }
  if (x > 28) {
    return 0;
  }
  let rest = 0;
  for (let n = Math.ceil(300 / (x * x)) + 30; n > 0; n--) {
    rest = n / 2 / (x + rest);
  }
  return 0.5641895835477563 * gauss_(x) / (x + rest);"""),
    "gauss": ("x", "e^(-x^2), with x^2 in two parts, so that its rounding does not grow",
              """const first = Math.fround(x);
  return Math.exp(-first * first) * Math.exp(-(x - first) * (x + first));"""),
    "lgamma": ("x", "ln |gamma(x)|: the asymptotic series from 8 on (Abramowitz and Stegun 6.1.41)",
               """if (x <= 0) {
    const rest = x - Math.round(x);
    return rest === 0 || x === -Infinity ? Infinity :
      Math.log(Math.PI / Math.abs(x * Math.sin(Math.PI * rest))) - lgamma_(-x);
  }
  if (x === 1 || x === 2 || x === Infinity) {
    return x === Infinity ? x : 0;
  }
  let product = 1;
  while (x < 8) {
    product = product * x;
    x = x + 1;
  }
  const z = 1 / (x * x);
  const series = 1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z * (1 / 1188 - z * (691 / 360360 -
    z * (1 / 156 - z * 3617 / 122400))))));
  if (product === 1) {
    return (x - 0.5) * Math.log(x) - x + 0.9189385332046727 + series / x;
  }
  const power = x ** (x - 0.5) * Math.exp(-x);
  const most = product < 1e-290 ? Math.log(power) - Math.log(product) : Math.log(power / product);
  return most + 0.9189385332046727 + series / x;"""),
    "murmur": ("x", "the finaliser of MurmurHash3 on 32 bits", """let h = x | 0;
  h = Math.imul(h ^ h >>> 16, 0x85EBCA6B);
  h = Math.imul(h ^ h >>> 13, 0xC2B2AE35);
  return (h ^ h >>> 16) >>> 0;"""),
    **{name: ("x, y", f"{words} of whole numbers", f"""const whole = 4294967296;
  const high = Math.floor(x / whole) {sign} Math.floor(y / whole);
  return high * whole + (((x | 0) {sign} (y | 0)) >>> 0);""") for name, sign, words in (
      ("bitwise_and", "&", "the bits in both"), ("bitwise_or", "|", "the bits in either"),
      ("bitwise_xor", "^", "the bits in one"))},
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

NEEDED = {"erf": ("erfc", "gauss"), "erfc": ("erf", "gauss")}
"""Helpers that call others."""
