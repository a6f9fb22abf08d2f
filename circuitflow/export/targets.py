"""Everything that a circuit can be exported to: a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from circuitflow.engines.compiler import build
from circuitflow.engines.flat.comments import MARK, origin
from circuitflow.errors import InputError
from circuitflow.export.c import exporting as c
from circuitflow.export.javascript import exporting as javascript
from circuitflow.export.python import to_python
from circuitflow.onnx.exporting import to_model
from circuitflow.onnx.storing import TensorContent
from circuitflow.text import printable


class Files(NamedTuple):
    """What is written.

    Attributes:
        content: of the file that was asked for.
        beside: what writes each file beside it, by name.
        mark: what every such file of an earlier export holds near its beginning, and a file of the user's does not;
            None where there is no telling.
    """

    content: str | bytes
    beside: Mapping[str, Callable[[BinaryIO], object]] = {}
    mark: str | None = None


class Target(NamedTuple):
    """A language or format.

    Attributes:
        files: takes the file to write, None for a stream, and by name the arguments of `to_python` and the options.
        options: what it has to choose besides, as at the command line.
    """

    files: Callable[..., Files]
    options: tuple[str, ...] = ()


def _python(output: str | None, **arguments: Any) -> Files:
    return Files(to_python(**arguments))


def _onnx(output: str | None, *, weights_beside: bool | None = None, **arguments: Any) -> Files:
    """A model, and large tensors in a file beside it."""
    if weights_beside and output is None:
        raise InputError("weights beside a model need a file for it; name one with -o")
    model = to_model(**arguments, stem=Path(output or "weights").stem, beside=weights_beside if output else False)
    return Files(model.content, {} if model.tensors is None else {model.file: model.tensors.write})


def _c(output: str | None, **arguments: Any) -> Files:
    """A header; beside a file of functions, `x.c`, or a compiled library, the header that it includes, `x.h`."""
    compiled, beside = arguments.pop("compile", False), arguments.get("weights_beside", False)
    if beside and output is None:
        raise InputError("weights beside a program need a file for it; name one with -o")
    if compiled and output is None:
        raise InputError("a compiled library is not text; write it to a file with -o")
    if output is None or not (compiled or output.endswith(".c")):
        texts = c.export(**arguments)
        return Files(texts.header, _weights(output, texts.weights) if beside else {}, MARK)
    header = Path(output).with_suffix(".h").name
    if header == Path(output).name:
        raise InputError(f"'{printable(header, 100)}' is the header beside a compiled library; name the library "
                         "otherwise, such as model.so")
    texts = c.export(**arguments, header=header)
    content = build({header: texts.header, "library.c": texts.source}, "library.c") if compiled else texts.source
    others = _weights(output, texts.weights) if beside else {}
    return Files(content, {header: lambda file: file.write(texts.header.encode()), **others}, MARK)


def _weights(output: str | None, weights: Mapping[str, Any]) -> Mapping[str, Callable[[BinaryIO], object]]:
    """A safetensors file beside a program `x.c`: `x.safetensors`."""
    return {Path(output or "").with_suffix(".safetensors").name: TensorContent(weights, {"origin": origin()}).write}


def _javascript(output: str | None, **arguments: Any) -> Files:
    """A module; beside a file `x.js` or `x.mjs` its types, `x.d.ts` or `x.d.mts`."""
    texts = javascript.export(**arguments)
    path = Path(output or "")
    if path.suffix not in (".js", ".mjs"):
        return Files(texts.module)
    types = path.with_suffix(f".d.{path.suffix[1:].replace('j', 't')}").name
    return Files(texts.module, {types: lambda file: file.write(texts.declarations.encode())}, MARK)


TARGETS: Mapping[str, Target] = {
    "python": Target(_python),
    "onnx": Target(_onnx, ("opset", "weights_beside")),
    "c": Target(_c, ("name", "dtype", "tests", "step", "jacobian", "hvp", "weights_beside", "on_stack", "compile")),
    "javascript": Target(_javascript, ("dtype", "jacobian", "hvp")),
}
