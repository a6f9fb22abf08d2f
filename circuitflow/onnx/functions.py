"""Bodies of functions: a model's own, and those that ONNX has for an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitflow.gates.shapes import Size
from circuitflow.onnx.calls import Value
from circuitflow.onnx.library import NUMBERS, default, library, schema
from circuitflow.onnx.reading import Graph, Model, ModelNode, Unreadable, body_graph


def body_of(model: Model, node: ModelNode, operands: Sequence[Value | None]) -> Graph | None:
    """The body of a node that is a function, with the node's attributes in it; None where it is none."""
    function = model.functions.get((node.domain, node.operator, node.overload))
    if function is None and node.domain == "":
        function = _own_body(model, node, operands)
    description = schema(node.operator, model.opset) if node.domain == "" else None
    names = description.attributes if description is not None else ()
    defaults = {name: default(node.operator, model.opset, name) for name in names}
    return None if function is None else body_graph(function, node, model, defaults)


def _own_body(model: Model, node: ModelNode, operands: Sequence[Value | None]) -> Any:
    """The body that ONNX has for one of its operators, in the model's opset."""
    description = schema(node.operator, model.opset)
    if description is None:
        return None
    onnx = library()
    if description.has_function:
        versions = [version for version in description.function_opset_versions if version <= model.opset]
        if not versions:
            return None
        return onnx.FunctionProto.FromString(description.get_function_with_opset_version(max(versions)))
    if description.has_context_dependent_function:
        versions = [version for version in description.context_dependent_function_opset_versions
                    if version <= model.opset]
        if not versions:
            return None
        try:
            proto = onnx.helper.make_node(node.operator, node.inputs, node.outputs, **dict(node.attributes))
        except (TypeError, ValueError) as error:
            raise Unreadable(f"has an attribute that its body does not take: {error}") from None
        types = [_type(value).SerializeToString() for value in operands]
        text = description.get_context_dependent_function_with_opset_version(
            max(versions), proto.SerializeToString(), types)
        return onnx.FunctionProto.FromString(text) if text else None
    return None


def _type(value: Value | None) -> Any:
    onnx = library()
    if value is None:
        return onnx.TypeProto()
    shape = [str(size) if isinstance(size, Size) else size for size in value.shape]
    return onnx.helper.make_tensor_type_proto(NUMBERS[value.dtype], shape)
