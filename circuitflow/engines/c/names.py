"""Names of C that are as near to those of a document as the language allows."""

from __future__ import annotations

import re

from circuitflow.engines.flat.identifiers import Identifiers, word_of

_WORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm fortran
    alignas alignof and and_eq bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield compl
    concept consteval constexpr constinit const_cast decltype delete dynamic_cast explicit export false friend mutable
    namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires
    static_assert static_cast template this thread_local throw true try typeid typename typeof typeof_unqual using
    virtual wchar_t xor xor_eq complex imaginary
    linux unix i386 arm vax sun sparc mips near far small interface main errno stdin stdout stderr assert offsetof
    math_errhandling I L_tmpnam L_ctermid L_cuserid P_tmpdir tzname physadr quad sa_handler sa_sigaction sched_priority
    si_addr si_addr_lsb si_arch si_band si_call_addr si_fd si_int si_lower si_overrun si_pid si_pkey si_ptr si_status
    si_stime si_syscall si_timerid si_uid si_upper si_utime si_value sigev_notify_attributes sigev_notify_function
    fd_set uint ulong ushort min max abs labs llabs div ldiv lldiv
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax
    fmin fmod fpclassify frexp hypot ilogb isfinite isgreater isgreaterequal isinf isless islessequal islessgreater
    isnan isnormal isunordered ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint
    nextafter nexttoward pow remainder remquo rint round scalbln scalbn signbit sin sinh sqrt tan tanh tgamma trunc
    gamma signgam finite drem significand j0 j1 jn y0 y1 yn printf memcpy memset
    parameters inputs outputs gradients tangents derivatives products work memory status
"""
_KEYWORDS = _WORDS.split()
_FLOATING = [f"{name}{end}" for name in _KEYWORDS[_KEYWORDS.index("acos") : _KEYWORDS.index("printf")] for end in "fl"]

RESERVED = frozenset({*_KEYWORDS, *_FLOATING, *"ijklmnpqrstuv"})
"""Words of C and C++, names of their libraries, and what exported functions use."""


_SEVERAL = re.compile("__+")

_MACRO = re.compile("[A-Z][A-Z0-9_]*[A-Z][A-Z0-9_]*|M_[A-Z0-9_]+[fl][0-9x]*")


def identifier(reference: str) -> str:
    """A reference as an identifier; the same reference gives the same one.

    What no identifier may have becomes an underscore. An underscore follows a reserved word, and what looks like a
    macro or a type: two capitals or more and no other letters, a constant such as
    M_PIl, or `_t` at the end. An `n` stands before a digit or an underscore at the beginning.
    """
    word = word_of(reference)
    if word in RESERVED or word.endswith("_t") or _MACRO.fullmatch(word):
        word += "_"
    return _SEVERAL.sub("_", word) if "__" in word else word


class CNames(Identifiers):
    """Gives out identifiers of C, each once; none begins as the names of the file's own do."""

    def __init__(self, prefix: str) -> None:
        super().__init__(lambda reference: _apart(identifier(reference), f"{prefix}_"))


def _apart(word: str, beginning: str) -> str:
    return f"{word.removesuffix('_')}_" if word.startswith(beginning) else word
