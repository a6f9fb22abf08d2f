"""Names of JavaScript that are as near to those of a document as the language allows."""

from __future__ import annotations

from circuitflow.engines.flat.identifiers import Identifiers, word_of

_WORDS = """
    arguments await break case catch class const continue debugger default delete do else enum eval export extends false
    finally for function if implements import in instanceof interface let new null package private protected public
    return static super switch this throw true try typeof var void while with yield async of get set undefined NaN
    Infinity Math Number Object Array Boolean Float64Array Float32Array Uint8Array Int8Array Int16Array Uint16Array
    Int32Array Uint32Array RangeError String Symbol globalThis isNaN isFinite
    parameters inputs outputs gradients tangents derivatives products value valueAndGrad jacobian hvp
    defaultParameters defaultInputs constructor prototype
"""

RESERVED = frozenset({*_WORDS.split(), *"ijklmnpqrstuv"})
"""Words of JavaScript, names of its library, and what exported modules use."""


def identifier(reference: str) -> str:
    """A reference as an identifier; the same reference gives the same one.

    What no identifier may have becomes an underscore. An underscore follows a reserved word, and one that ends with an
    underscore, as the names of the module's own do. An `n` stands before a digit or an underscore at the beginning.
    """
    word = word_of(reference)
    return f"{word}_" if word in RESERVED or word.endswith("_") else word


class JavaScriptNames(Identifiers):
    """Gives out identifiers of JavaScript, each once."""

    def __init__(self) -> None:
        super().__init__(identifier)
