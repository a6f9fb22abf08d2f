"""Nodes of ONNX with attributes at random, and what they should give."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import circuitflow as cf
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of

OPSETS = (11, 13, 18, 20, 21, 22, 24)


class Variant(NamedTuple):
    """A node with its operands: values that a run gives, and those that stand in the model."""

    operator: str
    inputs: Mapping[str, Any]
    known: Mapping[str, Any]
    attributes: Mapping[str, Any]
    outputs: int = 1
    order: tuple[str, ...] = ()
    since: int = 0

    def model(self, opset: int) -> onnx.ModelProto:
        names = self.order or (*self.inputs, *self.known)
        outputs = [f"y{i}" for i in range(self.outputs)]
        allowed = onnx.defs.get_schema(self.operator, opset).attributes
        node = helper.make_node(self.operator, list(names), outputs,
                                **{name: x for name, x in self.attributes.items() if name in allowed and x is not None})
        ports = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
                 for name, x in self.inputs.items()]
        graph = helper.make_graph([node], "g", ports, [onnx.ValueInfoProto(name=name) for name in outputs],
                                  [numpy_helper.from_array(x, name) for name, x in self.known.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(chance: random.Random, *shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(chance.getrandbits(32)).standard_normal(shape).astype(dtype)


def integers(*values: int) -> Any:
    return np.asarray(values, np.int64)


def some(chance: random.Random, x: Any, share: float = 0.6) -> Any:
    """A value, or None."""
    return x if chance.random() < share else None


# Windows -------------------------------------------------------------------------------------------------------------


def window(chance: random.Random, sizes: list[int]) -> dict[str, Any]:
    kernel = [chance.randint(1, min(3, size)) for size in sizes]
    auto = chance.choice([None, None, "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
    strides = [chance.randint(1, 3) for _ in sizes]
    if str(auto).startswith("SAME"):  # else pads are negative, of which every operator has another idea
        strides = [min(step, k) for step, k in zip(strides, kernel, strict=True)]
    steps = [chance.randint(1, 2) if size > 2 * k else 1 for size, k in zip(sizes, kernel, strict=True)]
    pads = [chance.randint(0, k - 1) for k in [*kernel, *kernel]]
    return {"kernel_shape": kernel, "auto_pad": auto, "strides": some(chance, strides),
            # ONNX Runtime leaves dilations out of pads that it computes.
            "dilations": some(chance, steps) if auto in (None, "NOTSET", "VALID") else None,
            "pads": some(chance, pads) if auto in (None, "NOTSET") else None}


def image(chance: random.Random, channels: int) -> tuple[Any, list[int]]:
    sizes = [chance.randint(3, 7) for _ in range(chance.choice([1, 2, 2, 3]))]
    return floats(chance, chance.randint(1, 2), channels, *sizes), sizes


def conv(chance: random.Random) -> Variant:
    group = chance.choice([1, 1, 2, 3])
    x, sizes = image(chance, group * chance.randint(1, 2))
    attributes = window(chance, sizes)
    w = floats(chance, group * chance.randint(1, 2), x.shape[1] // group, *attributes["kernel_shape"])
    bias = {"b": floats(chance, w.shape[0])} if chance.random() < 0.5 else {}
    if chance.random() < 0.3:
        attributes["kernel_shape"] = None
    return Variant("Conv", {"x": x, "w": w, **bias}, {}, {**attributes, "group": some(chance, group) if group == 1
                                                          else group})


def conv_transpose(chance: random.Random) -> Variant:
    group = chance.choice([1, 1, 2])
    x, sizes = image(chance, group * chance.randint(1, 2))
    attributes = window(chance, sizes)
    if str(attributes["auto_pad"]).startswith("SAME"):  # of which neither computes all sizes as ONNX says them
        attributes["strides"] = None
        group, attributes["auto_pad"] = 1, "SAME_UPPER"
    w = floats(chance, x.shape[1], chance.randint(1, 2), *attributes["kernel_shape"])
    steps = attributes["strides"] or [1] * len(sizes)
    attributes["output_padding"] = some(chance, [chance.randint(0, step - 1) for step in steps], 0.4)
    bias = {"b": floats(chance, w.shape[1] * group)} if chance.random() < 0.5 else {}
    return Variant("ConvTranspose", {"x": x, "w": w, **bias}, {}, {**attributes, "group": group})


def pool(operator: str) -> Callable[[random.Random], Variant]:
    def variant(chance: random.Random) -> Variant:
        x, sizes = image(chance, chance.randint(1, 2))
        attributes = {**window(chance, sizes), "ceil_mode": some(chance, chance.randint(0, 1)),
                      "count_include_pad": some(chance, chance.randint(0, 1)), "p": some(chance, chance.randint(1, 3)),
                      "storage_order": some(chance, chance.randint(0, 1), 0.3)}
        return Variant(operator, {"x": x}, {}, attributes,
                       chance.randint(1, 2) if operator == "MaxPool" and not attributes["storage_order"] else 1)

    return variant


def col2im(chance: random.Random) -> Variant:
    sizes = [chance.randint(3, 5) for _ in range(chance.choice([1, 2]))]
    a = window(chance, sizes)
    kernel, steps = a["kernel_shape"], a["strides"] or [1] * len(sizes)
    dilations, pads = a["dilations"] or [1] * len(sizes), a["pads"] or [0] * 2 * len(sizes)
    count = int(np.prod([(size + before + after - d * (k - 1) - 1) // s + 1 for size, before, after, d, k, s in zip(
        sizes, pads[: len(sizes)], pads[len(sizes) :], dilations, kernel, steps, strict=True)]))
    x = floats(chance, 2, 2 * int(np.prod(kernel)), count)
    return Variant("Col2Im", {"x": x}, {"image": integers(*sizes), "block": integers(*kernel)},
                   {"strides": a["strides"], "dilations": a["dilations"], "pads": a["pads"]})


# Shapes --------------------------------------------------------------------------------------------------------------


def array(chance: random.Random, least: int = 1, most: int = 4) -> Any:
    return floats(chance, *(chance.randint(1, 4) for _ in range(chance.randint(least, most))))


def axes_of(chance: random.Random, rank: int, least: int = 0) -> list[int]:
    axes = chance.sample(range(rank), chance.randint(min(least, rank), rank))
    return [axis - rank if chance.random() < 0.3 else axis for axis in axes]


def reduction(chance: random.Random) -> Variant:
    name = chance.choice(["Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"])
    x = array(chance, 1)
    x = np.abs(x) + np.float32(0.1) if name == "LogSum" else x
    if name in ("Sum", "Max", "Min", "Prod") and chance.random() < 0.3:
        x = np.round(x * 3).astype(chance.choice([np.int32, np.int64]))
    axes = some(chance, axes_of(chance, x.ndim), 0.8)
    return Variant(f"Reduce{name}", {"x": x}, {} if axes is None else {"axes": integers(*axes)},
                   {"keepdims": some(chance, chance.randint(0, 1)),
                    "noop_with_empty_axes": some(chance, chance.randint(0, 1), 0.4)})


def position(chance: random.Random) -> Variant:
    x = np.round(array(chance) * 2)
    return Variant(chance.choice(["ArgMax", "ArgMin"]), {"x": x}, {}, {
        "axis": some(chance, chance.randrange(-x.ndim, x.ndim)), "keepdims": some(chance, chance.randint(0, 1)),
        "select_last_index": some(chance, chance.randint(0, 1))})


def along(operator: str) -> Callable[[random.Random], Variant]:
    def variant(chance: random.Random) -> Variant:
        x = array(chance, 2)
        return Variant(operator, {"x": x}, {}, {"axis": some(chance, chance.randrange(-x.ndim, x.ndim)),
                                                "p": some(chance, chance.randint(1, 2))})

    return variant


def cumulative(chance: random.Random) -> Variant:
    x = array(chance)
    return Variant("CumSum", {"x": x}, {"axis": np.asarray(chance.randrange(-x.ndim, x.ndim), np.int64)},
                   {"exclusive": some(chance, chance.randint(0, 1)), "reverse": some(chance, chance.randint(0, 1))})


def pad(chance: random.Random) -> Variant:
    x = floats(chance, *(chance.randint(3, 4) for _ in range(chance.randint(1, 3))))
    mode = chance.choice([None, "constant", "reflect", "edge", "wrap"])
    least = -1 if mode in (None, "constant") else 0
    axes = some(chance, axes_of(chance, x.ndim, 1), 0.4)
    count = x.ndim if axes is None else len(axes)
    known: dict[str, Any] = {"pads": integers(*(chance.randint(least, 2) for _ in range(2 * count)))}
    order = ["x", "pads"]
    if chance.random() < 0.5 or axes is not None:
        known["value"] = np.float32(chance.choice([0, 1.5]))
        order.append("value")
    if axes is not None:
        known["axes"] = integers(*axes)
        order.append("axes")
    return Variant("Pad", {"x": x}, known, {"mode": mode}, order=tuple(order))


def slice_(chance: random.Random) -> Variant:
    x = floats(chance, *(chance.randint(1, 5) for _ in range(chance.randint(1, 3))))
    axes = axes_of(chance, x.ndim, 1)
    known = {"starts": integers(*(chance.randint(-6, 6) for _ in axes)),
             "ends": integers(*(chance.choice([-7, -2, -1, 0, 1, 2, 3, 9, 2**62, -2**62]) for _ in axes)),
             "axes": integers(*axes)}
    if chance.random() < 0.7:
        known["steps"] = integers(*(chance.choice([1, 2, -1, -2]) for _ in axes))
    return Variant("Slice", {"x": x}, known, {})


def split(chance: random.Random) -> Variant:
    x = array(chance)
    axis = chance.randrange(-x.ndim, x.ndim)
    parts = chance.randint(1, 3)
    size = x.shape[axis]
    if chance.random() < 0.5 or size < parts:
        cuts = sorted(chance.randint(0, size) for _ in range(parts - 1))
        return Variant("Split", {"x": x}, {"split": integers(*np.diff([0, *cuts, size]))}, {"axis": axis}, parts)
    return Variant("Split", {"x": x}, {}, {"axis": axis, "num_outputs": parts}, parts)


def gather_nd(chance: random.Random) -> Variant:
    x = floats(chance, *(chance.randint(1, 3) for _ in range(chance.randint(2, 4))))
    batch = chance.randint(0, x.ndim - 1)
    depth = chance.randint(1, x.ndim - batch)
    shape = (*x.shape[:batch], *(chance.randint(1, 3) for _ in range(chance.randint(0, 2))))
    places = np.stack([np.random.default_rng(chance.getrandbits(32)).integers(-size, size, shape)
                       for size in x.shape[batch : batch + depth]], axis=-1)
    return Variant("GatherND", {"x": x, "at": places.astype(np.int64)}, {}, {"batch_dims": some(chance, batch, 1.0)})


def gather(chance: random.Random) -> Variant:
    x = array(chance)
    axis = chance.randrange(-x.ndim, x.ndim)
    at = np.random.default_rng(chance.getrandbits(32)).integers(
        -x.shape[axis], x.shape[axis], [chance.randint(1, 3) for _ in range(chance.randint(0, 2))])
    if chance.random() < 0.5:
        return Variant("Gather", {"x": x, "at": np.asarray(at, np.int64)}, {}, {"axis": axis})
    shape = [chance.randint(1, size) for size in x.shape]
    at = np.random.default_rng(chance.getrandbits(32)).integers(-x.shape[axis], x.shape[axis], shape)
    return Variant("GatherElements", {"x": x, "at": at.astype(np.int64)}, {}, {"axis": axis})


def scatter(chance: random.Random) -> Variant:
    """Of opset 18 on, which has all reductions."""
    x = array(chance)
    axis = chance.randrange(-x.ndim, x.ndim)
    reduction = chance.choice([None, "none", "add", "mul", "max", "min"])
    shape = [chance.randint(1, size) for size in x.shape]
    rng = np.random.default_rng(chance.getrandbits(32))
    at = rng.integers(-x.shape[axis], x.shape[axis], shape)
    if reduction in (None, "none"):  # of places that repeat any may win
        shape[axis] = x.shape[axis]
        at = np.argsort(rng.random(shape), axis=axis)
    updates = floats(chance, *shape)
    if reduction in (None, "none"):
        dtype = chance.choice([np.float32, np.int64, np.int32, np.uint8, np.bool_])
        x, updates = (np.abs(9 * values).astype(dtype) for values in (x, updates))
    return Variant("ScatterElements", {"x": x, "at": at.astype(np.int64), "u": updates}, {},
                   {"axis": axis, "reduction": reduction}, since=18)


def scatter_nd(chance: random.Random) -> Variant:
    """Of places that do not repeat."""
    sizes, depth = [chance.randint(2, 4) for _ in range(3)], chance.randint(1, 3)
    places = np.stack(np.unravel_index(np.arange(np.prod(sizes[:depth])), sizes[:depth]), axis=-1)
    places = np.random.default_rng(chance.getrandbits(32)).permutation(places)[: chance.randint(1, 3)]
    dtype = chance.choice([np.float32, np.int64, np.int32, np.uint8, np.bool_])
    x, updates = (np.abs(9 * floats(chance, *shape)).astype(dtype) for shape in (sizes, (len(places), *sizes[depth:])))
    return Variant("ScatterND", {"x": x, "at": places.astype(np.int64), "u": updates}, {}, {}, since=13)


def tensor_scatter(chance: random.Random) -> Variant:
    batch, step = chance.randint(1, 3), chance.randint(1, 2)
    at = np.random.default_rng(chance.getrandbits(32)).integers(0, 5 - step + 1, batch)
    return Variant("TensorScatter", {"x": floats(chance, batch, 2, 5, 2), "u": floats(chance, batch, 2, step, 2)},
                   {"at": at}, {"axis": some(chance, -2), "mode": chance.choice([None, "linear", "circular"])},
                   since=24)


def reverse_sequence(chance: random.Random) -> Variant:
    time, x = chance.randint(0, 1), floats(chance, 3, 4, 2)
    lengths = np.random.default_rng(chance.getrandbits(32)).integers(1, x.shape[time] + 1, x.shape[1 - time])
    return Variant("ReverseSequence", {"x": x}, {"n": lengths}, {"time_axis": time, "batch_axis": 1 - time})


def top_k(chance: random.Random) -> Variant:
    x = array(chance)
    axis = chance.randrange(-x.ndim, x.ndim)
    return Variant("TopK", {"x": x}, {"k": integers(chance.randint(1, x.shape[axis]))},
                   {"axis": axis, "largest": some(chance, chance.randint(0, 1))}, 2)


def trilu(chance: random.Random) -> Variant:
    x = array(chance, 2)
    k = {"k": np.asarray(chance.randint(-4, 4), np.int64)} if chance.random() < 0.7 else {}
    return Variant("Trilu", {"x": x}, k, {"upper": some(chance, chance.randint(0, 1))})


def one_hot(chance: random.Random) -> Variant:
    depth = chance.randint(1, 4)
    at = np.random.default_rng(chance.getrandbits(32)).integers(
        -depth - 1, depth + 1, [chance.randint(1, 3) for _ in range(chance.randint(1, 2))])
    return Variant("OneHot", {"at": at.astype(np.int64)}, {"depth": integers(depth), "v": np.float32([0.5, 2])},
                   {"axis": some(chance, chance.randint(-at.ndim - 1, at.ndim))})


def depth_to_space(chance: random.Random) -> Variant:
    block = chance.randint(1, 3)
    if chance.random() < 0.5:
        return Variant("SpaceToDepth", {"x": floats(chance, 2, 2, 2 * block, block)}, {}, {"blocksize": block})
    return Variant("DepthToSpace", {"x": floats(chance, 2, 2 * block**2, 2, 3)}, {},
                   {"blocksize": block, "mode": chance.choice([None, "DCR", "CRD"])})


def reshape(chance: random.Random) -> Variant:
    x = floats(chance, 2, chance.choice([0, 3, 3, 3]), 4)
    target = chance.choice([[0, -1], [-1], [0, 0, 2, 2], [4, 0, 2], [2, 3, 4], [-1, 0], [0, 4, 3], [0, -1, 2]])
    return Variant("Reshape", {"x": x}, {"shape": integers(*target)},
                   {"allowzero": some(chance, chance.randint(0, 1), 0.3)})


def crop(chance: random.Random) -> Variant:
    x = array(chance)
    axes = some(chance, axes_of(chance, x.ndim, 1))
    count = x.ndim if axes is None else len(axes)
    return Variant("CenterCropPad", {"x": x}, {"shape": integers(*(chance.randint(1, 7) for _ in range(count)))},
                   {"axes": axes})


# Images --------------------------------------------------------------------------------------------------------------


def resize(chance: random.Random) -> Variant:
    sizes = [chance.randint(2, 5) for _ in range(chance.choice([1, 2, 2]))]
    x = floats(chance, 1, 2, *sizes)
    mode = chance.choice(["nearest", "linear", "cubic"])
    frame = chance.choice([None, "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                           "asymmetric", "tf_crop_and_resize"])
    axes = list(range(2, x.ndim))
    by_axes = chance.random() < 0.4
    attributes: dict[str, Any] = {
        "mode": mode, "coordinate_transformation_mode": frame, "axes": axes if by_axes else None,
        "nearest_mode": chance.choice([None, "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
        if mode == "nearest" else None,
        "antialias": some(chance, chance.randint(0, 1), 0.3) if mode != "nearest" else None,
        "cubic_coeff_a": some(chance, -0.5, 0.3) if mode == "cubic" else None,
        "exclude_outside": some(chance, chance.randint(0, 1), 0.3) if mode == "cubic" else None,
        "extrapolation_value": some(chance, 2.5, 0.3),
        "keep_aspect_ratio_policy": None}
    known, order = {}, ["x", "", ""]
    if frame == "tf_crop_and_resize":
        count = len(axes) if by_axes else x.ndim
        lows, highs = ([chance.choice(ends) for _ in axes] for ends in ([-0.23, 0.0, 0.13], [0.83, 1.0, 1.29]))
        rest = count - len(axes)
        known["roi"] = np.float32([*[0] * rest, *lows, *[1] * rest, *highs])
        order[1] = "roi"
    rest = [] if by_axes else [1, 1]
    if chance.random() < 0.5:
        known["scales"] = np.float32([*rest, *(chance.choice([0.5, 0.6, 1, 1.5, 2, 2.7]) for _ in axes)])
        order[2] = "scales"
    else:
        whole = [] if by_axes else list(x.shape[:2])
        known["sizes"] = integers(*whole, *(chance.randint(1, 8) for _ in axes))
        order.append("sizes")
        attributes["keep_aspect_ratio_policy"] = chance.choice([None, None, "stretch", "not_larger", "not_smaller"]) \
            if by_axes else None
    return Variant("Resize", {"x": x}, known, attributes, order=tuple(order))


def grid_sample(chance: random.Random) -> Variant:
    x = floats(chance, 2, 2, 3, 4)
    grid = (np.random.default_rng(chance.getrandbits(32)).uniform(-1.4, 1.4, (2, 3, 2, 2))).astype(np.float32)
    return Variant("GridSample", {"x": x, "grid": grid}, {}, {
        "mode": chance.choice([None, "linear", "nearest", "cubic"]),
        "padding_mode": chance.choice([None, "zeros", "border", "reflection"]),
        "align_corners": some(chance, chance.randint(0, 1))}, since=20)


def affine_grid(chance: random.Random) -> Variant:
    rank, batch = chance.randint(2, 3), chance.randint(1, 3)
    sizes = [chance.randint(2, 4) for _ in range(rank)]
    return Variant("AffineGrid", {"theta": floats(chance, batch, rank, rank + 1)}, {"size": integers(batch, 2, *sizes)},
                   {"align_corners": some(chance, chance.randint(0, 1))}, since=20)


def roi_align(chance: random.Random) -> Variant:
    number, rng = chance.randint(1, 3), np.random.default_rng(chance.getrandbits(32))
    boxes = np.sort(rng.uniform(-1, 7, (number, 2, 2)), axis=1).reshape(number, 4).astype(np.float32)
    return Variant("RoiAlign", {"x": floats(chance, 2, 2, 5, 6), "boxes": boxes}, {"at": rng.integers(0, 2, number)}, {
        "output_height": some(chance, chance.randint(1, 3)), "output_width": some(chance, chance.randint(1, 3)),
        "sampling_ratio": chance.randint(1, 3), "spatial_scale": some(chance, chance.choice([0.5, 1.0, 1.5])),
        "coordinate_transformation_mode": chance.choice([None, "half_pixel", "output_half_pixel"])}, since=18)


# Attention -----------------------------------------------------------------------------------------------------------


def attention(chance: random.Random) -> Variant:
    batch, shared, groups, queries, keys, past = (chance.randint(*ends) for ends in (
        (1, 2), (1, 2), (1, 2), (1, 3), (1, 4), (0, 2)))
    heads, is_flat = shared * groups, chance.random() < 0.4
    inputs = {name: floats(chance, *((batch, length, number * 2) if is_flat else (batch, number, length, 2)))
              for name, length, number in (("q", queries, heads), ("k", keys, shared), ("v", keys, shared))}
    mask = chance.choice([None, (queries, keys + past), (batch, 1, queries, keys + past)])
    inputs |= {"m": floats(chance, *mask)} if mask else {}
    inputs |= {name: floats(chance, batch, shared, past, 2) for name in (("pk", "pv") if past else ())}
    order = ("q", "k", "v", *(["m" if mask else ""] if mask or past else []), *(["pk", "pv"] if past else []))
    return Variant("Attention", inputs, {}, {
        "is_causal": some(chance, chance.randint(0, 1)), "scale": some(chance, 0.3), "softcap": some(chance, 1.5),
        **({"q_num_heads": heads, "kv_num_heads": shared} if is_flat else {})}, 3 if past else 1, order, since=23)


def rotary_embedding(chance: random.Random) -> Variant:
    batch, length, heads, size = (chance.randint(*ends) for ends in ((1, 2), (1, 3), (1, 3), (2, 4)))
    part, is_flat, is_chosen = chance.choice([0, 2, 4]), chance.random() < 0.5, chance.random() < 0.6
    table = (5, part // 2 or size) if is_chosen else (batch, length, part // 2 or size)
    at = np.random.default_rng(chance.getrandbits(32)).integers(0, 5, (batch, length))
    x = floats(chance, *((batch, length, heads * 2 * size) if is_flat else (batch, heads, length, 2 * size)))
    return Variant("RotaryEmbedding", {"x": x, "cos": floats(chance, *table), "sin": floats(chance, *table),
                                       **({"at": at} if is_chosen else {})}, {}, {
        "interleaved": some(chance, chance.randint(0, 1)), "num_heads": heads if is_flat else None,
        "rotary_embedding_dim": part or None}, since=23)


def labels(chance: random.Random) -> Variant:
    batch, rest = chance.randint(1, 3), chance.choice([(), (2,), (2, 3)])
    at = np.random.default_rng(chance.getrandbits(32)).integers(0, 4, (batch, *rest))
    return Variant(chance.choice(["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"]),
                   {"x": floats(chance, batch, 4, *rest)},
                   {"at": at, **({"w": np.abs(floats(chance, 4))} if chance.random() < 0.5 else {})},
                   {"reduction": chance.choice([None, "none", "sum", "mean"]), "ignore_index": some(chance, 1)},
                   since=13)


# Products and norms --------------------------------------------------------------------------------------------------


def gemm(chance: random.Random) -> Variant:
    m, k, n = (chance.randint(1, 4) for _ in range(3))
    a, b = chance.randint(0, 1), chance.randint(0, 1)
    inputs = {"a": floats(chance, *((k, m) if a else (m, k))), "b": floats(chance, *((n, k) if b else (k, n)))}
    if chance.random() < 0.7:
        inputs["c"] = floats(chance, *chance.choice([(), (1,), (n,), (m, 1), (1, n), (m, n)]))
    return Variant("Gemm", inputs, {},
                   {"transA": a, "transB": b, "alpha": some(chance, 0.5), "beta": some(chance, 1.5)})


def norm(chance: random.Random) -> Variant:
    x = floats(chance, 2, 4, 3, chance.randint(1, 3))
    eps = some(chance, 0.01)
    name = chance.choice(["LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization",
                          "LRN", "RMSNormalization", "MeanVarianceNormalization"])
    if name in ("LayerNormalization", "RMSNormalization"):
        axis = chance.randrange(-4, 4)
        w = {"w": floats(chance, *x.shape[axis:])}
        more = {"b": floats(chance, *x.shape[axis:])} if name == "LayerNormalization" and chance.random() < 0.5 else {}
        return Variant(name, {"x": x, **w, **more}, {}, {"axis": axis, "epsilon": eps, "stash_type": some(chance, 1)})
    if name == "BatchNormalization":
        rest = {key: floats(chance, 4) for key in "wbm"} | {"v": np.abs(floats(chance, 4)) + np.float32(0.1)}
        training = chance.random() < 0.3
        return Variant(name, {"x": x, **rest}, {}, {"epsilon": eps, "momentum": some(chance, 0.7),
                                                    "training_mode": int(training)}, 3 if training else 1)
    if name == "LRN":
        # Of even sizes ONNX's evaluator computes as many channels as there are images.
        return Variant(name, {"x": x}, {}, {"size": chance.choice([1, 3, 5]), "alpha": some(chance, 0.3),
                                            "beta": some(chance, 0.6), "bias": some(chance, 1.5)})
    if name == "MeanVarianceNormalization":
        return Variant(name, {"x": x}, {}, {"axes": some(chance, axes_of(chance, 4, 1))})
    rest = {key: floats(chance, 4) for key in "wb"}
    return Variant(name, {"x": x, **rest}, {}, {"epsilon": eps, "num_groups": chance.choice([1, 2, 4])})


def recurrent(chance: random.Random) -> Variant:
    name, gates = chance.choice([("RNN", 1), ("GRU", 3), ("LSTM", 4)])
    way = chance.choice([None, "forward", "reverse", "bidirectional"])
    ways, size, layout = (2 if way == "bidirectional" else 1), chance.randint(1, 3), chance.choice([None, None, 0])
    length, batch, inner = chance.randint(1, 4), chance.randint(1, 2), 2
    inputs = {"x": floats(chance, length, batch, inner), "w": floats(chance, ways, gates * size, inner),
              "r": floats(chance, ways, gates * size, size)}
    order, known = ["x", "w", "r", "", "", ""], {}
    if chance.random() < 0.6:
        inputs["b"], order[3] = floats(chance, ways, 2 * gates * size), "b"
    if chance.random() < 0.5:
        known["n"] = np.asarray([chance.randint(1, length) for _ in range(batch)], np.int32)
        order[4] = "n"
    if chance.random() < 0.5:
        inputs["h"], order[5] = floats(chance, ways, batch, size), "h"
    if name == "LSTM":
        order += ["", ""]
        if chance.random() < 0.5:
            inputs["c"], order[6] = floats(chance, ways, batch, size), "c"
        if chance.random() < 0.3:
            inputs["p"], order[7] = floats(chance, ways, 3 * size), "p"
    functions = {"RNN": 1, "GRU": 2, "LSTM": 3}[name] * ways
    return Variant(name, inputs, known, {
        "hidden_size": size, "direction": way, "layout": layout,
        "clip": some(chance, 0.8, 0.3) if name != "LSTM" else None,  # where ONNX Runtime leaves out the last activation
        "linear_before_reset": some(chance, chance.randint(0, 1)),
        "activations": some(chance, [chance.choice(["Tanh", "Sigmoid", "Relu"]) for _ in range(functions)], 0.4)},
        3 if name == "LSTM" else 2, tuple(order))


def quantize(chance: random.Random) -> Variant:
    x = floats(chance, 2, 4, 3) * np.float32(20)
    axis = chance.randrange(-3, 3)
    scale = np.abs(floats(chance, *chance.choice([(), (x.shape[axis],)]))) + np.float32(0.1)
    dtype = chance.choice([np.uint8, np.int8])
    zero = np.random.default_rng(chance.getrandbits(32)).integers(0, 20, scale.shape).astype(dtype)
    if chance.random() < 0.5:
        return Variant("QuantizeLinear", {"x": x}, {"s": np.asarray(scale), "z": np.asarray(zero)}, {"axis": axis})
    return Variant("DequantizeLinear", {"x": np.clip(x, 0, 90).astype(dtype)},
                   {"s": np.asarray(scale), "z": np.asarray(zero)}, {"axis": axis})


def modulo(chance: random.Random) -> Variant:
    is_float = chance.random() < 0.4
    x, y = (np.round(floats(chance, 6) * 5) for _ in "xy")
    y[y == 0] = 3
    if not is_float:
        dtype = chance.choice([np.int32, np.int64, np.int8])
        x, y = x.astype(dtype), y.astype(dtype)
    return Variant("Mod", {"x": x, "y": y}, {}, {"fmod": 1 if is_float else some(chance, chance.randint(0, 1))})


def dft(chance: random.Random) -> Variant:
    x = floats(chance, 2, 4, 3, chance.choice([1, 2]))
    axis, inverse = chance.choice([0, 1, 2, -2, -3]), chance.randint(0, 1)
    one = chance.randint(0, 1) if x.shape[-1] == 1 and not inverse else 0
    known = {"n": np.asarray(chance.randint(1, 6), np.int64)} if chance.random() < 0.5 else {}
    order = ("x", "n" if known else "")
    return Variant("DFT", {"x": x}, {**known, "axis": np.asarray(axis, np.int64)},
                   {"inverse": inverse, "onesided": one}, order=(*order, "axis"))


VARIANTS: Mapping[str, Callable[[random.Random], Variant]] = {
    "conv": conv, "conv_transpose": conv_transpose, "max_pool": pool("MaxPool"), "average_pool": pool("AveragePool"),
    "lp_pool": pool("LpPool"), "col2im": col2im, "reduction": reduction, "position": position,
    "softmax": along("Softmax"), "log_softmax": along("LogSoftmax"), "hardmax": along("Hardmax"),
    "lp_normalization": along("LpNormalization"), "flatten": along("Flatten"), "cumulative": cumulative, "pad": pad,
    "slice": slice_, "split": split, "gather_nd": gather_nd, "gather": gather, "scatter": scatter, "top_k": top_k,
    "trilu": trilu, "one_hot": one_hot, "depth_to_space": depth_to_space, "reshape": reshape, "crop": crop,
    "resize": resize, "grid_sample": grid_sample, "gemm": gemm, "norm": norm, "recurrent": recurrent,
    "quantize": quantize, "modulo": modulo, "dft": dft, "scatter_nd": scatter_nd, "tensor_scatter": tensor_scatter,
    "reverse_sequence": reverse_sequence, "affine_grid": affine_grid, "roi_align": roi_align, "attention": attention,
    "rotary_embedding": rotary_embedding, "labels": labels,
}


def expected(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> list[list[Any]]:
    """What ONNX Runtime gives, and ONNX's evaluator, where they take the model."""
    answers, options = [], onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    content, feed = model.SerializeToString(), dict(inputs)
    cpu = ["CPUExecutionProvider"]
    for run in (lambda: onnxruntime.InferenceSession(content, options, providers=cpu).run(None, feed),
                lambda: ReferenceEvaluator(model).run(None, feed)):
        with contextlib.suppress(Exception):  # they have no type of their own for what they do not take
            answers.append(run())
    return answers


def verdict(variant: Variant, opset: int) -> tuple[str, str]:
    """What becomes of a variant: "equal", "refused", "without reference" or "wrong", and why."""
    try:
        model = variant.model(opset)
        context = onnx.checker.C.CheckerContext()
        context.opset_imports, context.ir_version = {"": opset}, model.ir_version
        onnx.checker.check_node(model.graph.node[0], context)
    except (onnx.checker.ValidationError, onnx.defs.SchemaError, KeyError):
        return "without reference", "no such node in this opset"
    answers = expected(model, variant.inputs)
    try:
        circuit = import_model(model_of(model.SerializeToString(), "model.onnx")).circuit
        ids = {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}
        outputs = cf.Executor(circuit).forward({ids[name]: x for name, x in variant.inputs.items()}).outputs
    except cf.CircuitflowError as error:
        return ("refused" if answers else "without reference"), str(error)
    labels = {circuit.nodes[name].label or name: x for name, x in outputs.items() if name in circuit.nodes}
    if not answers:
        return "without reference", "neither takes it"
    texts = []
    for answer in answers:
        text = ""
        for i, want in enumerate(answer):
            got, want = np.asarray(labels[f"y{i}"]), np.asarray(want)
            if got.shape != want.shape or got.dtype != want.dtype or not np.allclose(
                    got.astype(float), want.astype(float), 1e-4, 1e-5, equal_nan=True):
                text = f"y{i}: {got.dtype} {got.shape} {got.ravel()[:6]}, expected {want.dtype} {want.shape} " \
                       f"{want.ravel()[:6]}"
                break
        if not text:
            return "equal", ""
        texts.append(text)
    return "wrong", "; ".join(texts)


def drawn(name: str, seed: int) -> tuple[Variant, int]:
    """A variant by a number, and an opset."""
    chance = random.Random(f"{name} {seed}")
    variant = VARIANTS[name](chance)
    return variant, chance.choice([opset for opset in OPSETS if opset >= variant.since])
