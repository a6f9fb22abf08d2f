"""Functions that a C file defines where it uses them. `@` stands for the prefix of the file's names."""

from __future__ import annotations

from collections.abc import Mapping

from circuitflow.engines.flat.routines import ROUTINES, Routine

_CHOICES = {
    "maximum": ("the larger of two numbers; NaN where one is", "a > b || a != a ? a : b"),
    "minimum": ("the smaller of two numbers; NaN where one is", "a < b || a != a ? a : b"),
    "at_least": ("a number, but no less than a bound", "a < b ? b : a"),
    "at_most": ("a number, but no more than a bound", "a > b ? b : a"),
}


_ORDER = """/* the stable order of keys, NaN last, by merging runs that are twice as long each time */
static inline void @order_END(const TYPE *keys, int64_t *order, int64_t *spare, int size)
{
    for (int i = 0; i < size; i++) {
        order[i] = i;
    }
    for (int run = 1; run < size; run *= 2) {
        for (int start = 0; start < size; start += 2 * run) {
            const int middle = start + run < size ? start + run : size;
            const int end = start + 2 * run < size ? start + 2 * run : size;
            int left = start, right = middle;
            for (int i = start; i < end; i++) {
                bool is_right = left == middle;
                if (left < middle && right < end) {
                    const TYPE a = keys[order[left]], b = keys[order[right]];
                    is_right = b < a || (a != a && b == b);
                }
                spare[i] = is_right ? order[right++] : order[left++];
            }
        }
        for (int i = 0; i < size; i++) {
            order[i] = spare[i];
        }
    }
}"""


def _floating() -> dict[str, str]:
    texts: dict[str, str] = {}
    for type_, end, zero in (("double", "", "0.0"), ("float", "f", "0.0f")):
        for name, (words, choice) in _CHOICES.items():
            texts[name + end] = (f"/* {words} */\nstatic inline {type_} @{name}{end}({type_} a, {type_} b)\n"
                                 f"{{\n    return {choice};\n}}")
        one = zero.replace("0.", "1.")
        texts[f"sign{end}"] = (f"/* 1, 0 or -1; NaN for NaN */\nstatic inline {type_} @sign{end}({type_} x)\n"
                               f"{{\n    return x > {zero} ? {one} : x < {zero} ? -{one} : x + {zero};\n}}")
        texts[f"remainder{end}"] = (
            f"/* the remainder with the sign of the divisor */\n"
            f"static inline {type_} @remainder{end}({type_} x, {type_} y)\n{{\n"
            f"    const {type_} rest = fmod{end}(x, y);\n"
            f"    if (y == {zero}) {{\n        return rest;\n    }}\n"
            f"    if (rest == {zero}) {{\n        return copysign{end}({zero}, y);\n    }}\n"
            f"    return (rest < {zero}) != (y < {zero}) ? rest + y : rest;\n}}")
        texts[f"product_kept{end}"] = (
            f"/* a product in which 0 times an infinity or NaN is 0 */\n"
            f"static inline {type_} @product_kept{end}({type_} x, {type_} y)\n{{\n"
            f"    return x == {zero} || y == {zero} ? {zero} : x * y;\n}}")
        texts[f"order_{end or 'd'}"] = _ORDER.replace("TYPE", type_).replace("END", end or "d")
        ln2 = "0.6931471805599453" + end
        texts[f"logaddexp{end}"] = (
            f"/* ln(e^x + e^y), without overflow */\nstatic inline {type_} @logaddexp{end}({type_} x, {type_} y)\n{{\n"
            f"    const {type_} d = x - y;\n    if (x == y) {{\n        return x + {ln2};\n    }}\n"
            f"    return d > {zero} ? x + log1p{end}(exp{end}(-d)) :\n"
            f"        d <= {zero} ? y + log1p{end}(exp{end}(d)) : d;\n}}")
    return texts


def _whole() -> dict[str, str]:
    texts = {}
    for kind, type_ in (("i", "int64_t"), ("u", "uint64_t")):
        for name, sign, words in (("larger", ">", "larger"), ("smaller", "<", "smaller")):
            texts[f"{name}_{kind}"] = (f"/* the {words} of two integers */\nstatic inline {type_} "
                                       f"@{name}_{kind}({type_} a, {type_} b)\n{{\n    return a {sign} b ? a : b;\n}}")
    for name, type_, low, high in (("int64", "int64_t", "-9223372036854775808.0", "9223372036854775808.0"),
                                   ("uint64", "uint64_t", "0.0", "18446744073709551616.0")):
        texts[f"to_{name}"] = (f"/* a number without its fraction; 0 where that does not fit */\n"
                               f"static inline {type_} @to_{name}(double x)\n{{\n"
                               f"    return x >= {low} && x < {high} ? ({type_})x : 0;\n}}")
    return texts


def _routine(name: str, routine: Routine) -> str:
    """A routine as C has it."""
    parameters = ", ".join([*(f"double *{array}" for array in routine.arrays), *(f"int {n}" for n in routine.sizes),
                            *(f"double {x}" for x in routine.numbers)])
    body = "\n".join(line for line in routine.body.splitlines() if line.strip())
    return f"/* {routine.words} */\nstatic inline {routine.result} @{name}({parameters})\n{{\n{body}\n}}"


HELPERS: Mapping[str, str] = {
    **{name: _routine(name, routine) for name, routine in ROUTINES.items()},
    **_floating(),
    **_whole(),
    "murmur": """/* the finaliser of MurmurHash3 on 32 bits */
static inline int64_t @murmur(int64_t x)
{
    uint32_t h = (uint32_t)x;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    return (int64_t)(h ^ h >> 16);
}""",
    "modulo": """/* the remainder of integers, with the sign of the divisor */
static inline int64_t @modulo(int64_t x, int64_t y)
{
    const int64_t rest = x % y;
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}""",
    "magnitude": """/* the absolute value of an integer */
static inline int64_t @magnitude(int64_t x)
{
    return x < 0 ? (int64_t)(0 - (uint64_t)x) : x;
}""",
    "direction": """/* the sign of an integer */
static inline int64_t @direction(int64_t x)
{
    return (x > 0) - (x < 0);
}""",
}
"""Their source, by name."""
