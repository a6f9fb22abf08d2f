"""Shapes: arrays rearranged, cut, joined and surrounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Dimension, count, divide, show
from circuitflow.onnx.calls import Call, Refusal, sizes_by
from circuitflow.text import printable


def constant(call: Call) -> Any:
    """A tensor in the model."""
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64), ("value_floats", np.float32),
                        ("value_ints", np.int64)):
        if call.has_attribute(name):
            return np.asarray(call.attribute(name), dtype)
    if not call.has_attribute("value"):
        raise Refusal("has no tensor; expected one of numbers or booleans")
    return call.attribute("value")


def constant_of_shape(call: Call) -> Any:
    """A number in a shape."""
    value = call.attribute("value", np.zeros(1, np.float32))
    shape, fill = call.known(0, "shape"), np.asarray(value).reshape(())
    wire = call.w.constant(fill[()].item(), str(fill.dtype))
    if shape.dtype == object:
        return _stretched(call, wire, shape.tolist())
    if float(np.prod(shape.astype(float))) * fill.itemsize > 2**31:
        raise Refusal(f"makes a constant of the shape {show(shape.tolist())}; expected fewer than 2^31 bytes")
    return call.w.expand(wire, shape=shape.tolist()) if shape.size else wire


def reshape(call: Call) -> Any:
    """In another shape, of numbers and named sizes."""
    x = call.type(0)
    target: list[Dimension] = call.known(1, "shape").tolist()
    if not call.attribute("allowzero", 0):
        if any(size == 0 and i >= len(x.shape) for i, size in enumerate(target)):
            raise Refusal(f"copies a size that {show(x.shape)} does not have")
        target = [x.shape[i] if isinstance(size, int) and size == 0 else size for i, size in enumerate(target)]
    return _in_shape(call, call[0], _resolve(x, target))


def _resolve(x: ArrayType, target: Sequence[Dimension]) -> list[Dimension]:
    """A shape with what is left in the place of -1."""
    places = [i for i, size in enumerate(target) if isinstance(size, int) and size == -1]
    if not places:
        return list(target)
    rest = divide(count(x.shape), count([size for i, size in enumerate(target) if i not in places]))
    if rest is None or len(places) > 1:
        raise Refusal(f"cannot turn shape {show(x.shape)} into {show(target)}{sizes_by(*x.shape, *target)}")
    return [rest if i in places else size for i, size in enumerate(target)]


def _in_shape(call: Call, x: Any, shape: Sequence[Dimension]) -> Any:
    """A wire in a shape; of its named sizes one may be what is left, others are those of the wire."""
    named = [i for i, size in enumerate(shape) if not isinstance(size, int)]
    if len(named) <= 1:
        result = call.w.reshape(x, shape=[-1 if i in named else size for i, size in enumerate(shape)])
        if result.type.shape == tuple(shape):
            return result
        raise Refusal(f"cannot turn shape {show(x.type.shape)} into {show(shape)}{sizes_by(*x.type.shape, *shape)}")
    like = _like(call, x, shape)
    return call.w.reshape_like(x, like)


def _like(call: Call, x: Any, shape: Sequence[Dimension]) -> Any:
    """Something of a shape whose named sizes are axes of x, in order."""
    w, axis = call.w, 0
    sizes = list(x.type.shape)
    wanted = [size for size in shape if not isinstance(size, int)]
    if [size for size in sizes if not isinstance(size, int)] != wanted:
        raise Refusal(f"cannot turn shape {show(sizes)} into {show(shape)} with these names"
                      f"{sizes_by(*sizes, *shape)}")
    for size in sizes:
        if isinstance(size, int):
            x = w.squeeze(w.slice(x, axis=axis, start=0, stop=1), axis=axis)
        else:
            axis += 1
    for i, size in enumerate(shape):
        if isinstance(size, int):
            x = w.unsqueeze(x, axis=i)
    return w.expand(x, shape=[size if isinstance(size, int) else 1 for size in shape])


def flatten(call: Call) -> Any:
    """A matrix of the axes before one, and of those from it on."""
    return call.w.flatten(call[0], axis=call.attribute("axis"))


def _axes(call: Call) -> list[int] | None:
    axes = call.setting("axes", 1)
    return [axes] if isinstance(axes, int) else axes


def squeeze(call: Call) -> Any:
    """Without axes of size 1: those that are named, or all, which sizes must tell."""
    x, axes = call[0], _axes(call)
    if axes is None:
        axes = [i for i, size in enumerate(call.sizes(0)) if size == 1]
    for axis in sorted((axis % max(1, x.ndim) for axis in axes), reverse=True):
        x = call.w.squeeze(x, axis=axis)
    return x


def unsqueeze(call: Call) -> Any:
    """With new axes of size 1."""
    x, axes = call[0], _axes(call) or []
    rank = x.ndim + len(axes)
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise Refusal(f"needs different axes from {-rank} to {rank - 1}, not {axes}")
    for axis in sorted(axis % rank for axis in axes):
        x = call.w.unsqueeze(x, axis=axis)
    return x


def expand(call: Call) -> Any:
    """Broadcast with a shape."""
    shape = call.known(1, "shape").tolist()
    x = call.type(0).shape
    padded = (1,) * (len(shape) - len(x)) + tuple(x)
    ends = padded[len(padded) - len(shape) :]
    if any(not isinstance(size, int) and size != own for size, own in zip(shape, ends, strict=True)):
        return _stretched(call, call[0], shape)
    plain = [size if isinstance(size, int) else 1 for size in shape]
    if all(size == 1 for size in plain) and len(plain) <= len(x):
        return call.value(0)
    return call.w.expand(call[0], shape=plain)


def _stretched(call: Call, x: Any, shape: Sequence[Dimension]) -> Any:
    """Broadcast with a shape whose named sizes are those of inputs."""
    w, own = call.w, x.type.shape
    rank = max(len(shape), len(own))
    padded, target = ((*(1,) * (rank - len(sizes)), *sizes) for sizes in (own, shape))
    whole = [size if own == 1 else own for own, size in zip(padded, target, strict=True)]
    like = w.constant(0.0, w.dtype)
    for i, size in enumerate(whole):
        if not isinstance(size, int):
            line = call.dimension(size)
            if line is None or target[i] not in (1, size):
                raise Refusal(f"cannot broadcast {show(own)} with {show(shape)}{sizes_by(*own, *shape)}")
            like = w.add(like, w.reshape(line, shape=[-1, *[1] * (rank - 1 - i)]))
    return w.expand_like(x, w.expand(like, shape=[size if isinstance(size, int) else 1 for size in whole]))


def tile(call: Call) -> Any:
    """Repeated along every axis."""
    repeats = call.numbers(1, "repeats").tolist()
    return call.w.tile(call[0], repeats=repeats)


def transpose(call: Call) -> Any:
    """The axes in another order."""
    axes = call.attribute("perm")
    if call.type(0).shape == ():
        return call.value(0)
    return call.w.transpose(call[0], **({} if axes is None else {"axes": axes}))


def split(call: Call) -> Any:
    """Parts along an axis."""
    axis, sizes = call.attribute("axis", 0), call.setting("split", 1)
    parts = len(call.node.outputs)
    if call.attribute("num_outputs", parts) != parts:
        raise Refusal(f"has {parts} outputs, and num_outputs {call.attribute('num_outputs')}")
    if sizes is None:
        (size,) = call.numbers_of([call.shape(0)[axis]])
        part = -(-size // parts)
        sizes = [max(0, min(part, size - i * part)) for i in range(parts)]
    return call.w.split(call[0], axis=axis, sections=[int(size) for size in sizes])


def slice_(call: Call) -> Any:
    """Ranges of positions along axes, also backwards."""
    x = call[0]
    starts, ends = call.setting("starts", 1), call.setting("ends", 2)
    axes, steps = call.setting("axes", 3), call.setting("steps", 4)
    axes = list(range(len(starts))) if axes is None else axes
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(axes), strict=True):
        x = _range(call, x, axis % x.ndim, start, end, step)
    return x


def _range(call: Call, x: Any, axis: int, start: Any, end: Any, step: int) -> Any:
    """A range along an axis."""
    w, size = call.w, x.type.shape[axis]
    if not isinstance(size, int):
        is_whole = isinstance(start, int) and start == 0 and step == 1 and (
            end == size or (isinstance(end, int) and end >= 2**31 - 1))
        if is_whole:
            return x
        if not isinstance(start, int) or not isinstance(end, int) or step < 1:
            raise Refusal(f"needs numbers for the range {start} to {end} of size {size}{sizes_by(start, end, size)}")
        stop = None if end >= 2**31 - 1 else end
        return w.slice(x, axis=axis, start=start, stop=stop, step=step)
    if not isinstance(start, int) or not isinstance(end, int):
        raise Refusal(f"needs numbers for the range {start} to {end}{sizes_by(start, end)}")
    if step == 0:
        raise Refusal("has a step of 0")
    places = range(size)[slice(start, end if step > 0 or end >= -size else None, step)]
    if step > 0:
        if len(places) == size:
            return x
        first = places.start if len(places) else 0
        return w.slice(x, axis=axis, start=first, stop=max(first, places.stop) if len(places) else first, step=step)
    if not len(places):
        return w.slice(x, axis=axis, start=0, stop=0)
    low, high = places[-1], places[0]
    return w.flip(w.slice(x, axis=axis, start=low, stop=high + 1, step=-step), axis=axis)


def pad(call: Call) -> Any:
    """With margins: a number, or what is near the edge; negative ones cut off."""
    x = call[0]
    mode: Any = call.attribute("mode", "constant")
    pads = call.setting("pads", 1)
    if call.version < 11:
        value = call.attribute("value", 0.0)
    else:
        value = call.numbers(2, "constant_value").reshape(()).item() if call.has(2) else 0
    axes = [axis % x.ndim for axis in call.numbers(3, "axes").tolist()] if call.has(3) else list(range(x.ndim))
    if len(pads) != 2 * len(axes):
        raise Refusal(f"has {len(pads)} pads for {len(axes)} axes; expected two for each")
    widths = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    for axis, (before, after) in widths.items():
        if before < 0 or after < 0:
            x = call.w.slice(x, axis=axis, start=max(0, -before), stop=min(0, after) or None)
    widths = {axis: (max(0, before), max(0, after)) for axis, (before, after) in widths.items()}
    if mode == "constant":
        return surround(call, x, [list(widths.get(axis, (0, 0))) for axis in range(x.ndim)], value)
    if mode not in ("reflect", "edge", "wrap"):
        raise Refusal(f"has the mode {printable(mode, 40)}; expected constant, reflect, edge or wrap")
    for axis, width in widths.items():
        if any(width):
            size = call.numbers_of(x.type.shape)[axis]
            if max(width) > 2**20:
                raise Refusal(f"has pads of {max(width)}; expected at most {2**20}")
            places = np.pad(np.arange(size), width, mode=mode)
            x = call.w.gather(x, places, axis=axis)
    return x


def surround(call: Call, x: Any, widths: list[list[int]], value: Any) -> Any:
    """A wire with margins of a number."""
    w = call.w
    if not any(map(any, widths)):
        return x
    out = w.pad(x, pad_width=widths)
    if value == 0:
        return out
    inside = w.cast(w.pad(w.ones_like(x), pad_width=widths), dtype="bool")
    return w.where(inside, out, call.w.constant(value, x.type.dtype))


def trilu(call: Call) -> Any:
    """A triangle of matrices."""
    k = int(call.numbers(1, "k").reshape(())) if call.has(1) else 0
    return call.w.trilu(call[0], upper=bool(call.attribute("upper")), k=k)


def eye_like(call: Call) -> Any:
    """Ones on a diagonal."""
    rows, columns = call.sizes(0)
    number = call.attribute("dtype")
    dtype = call.type(0).dtype if number is None else call.dtype(number)
    if rows * columns > 2**24:
        raise Refusal(f"makes a constant of the shape ({rows}, {columns}); expected fewer than 2^24 elements")
    return np.eye(rows, columns, call.attribute("k"), dtype)


def depth_to_space(call: Call) -> Any:
    """Channels as blocks of pixels."""
    block = call.attribute("blocksize")
    n, c, h, w = call.sizes(0)
    inner = c // block**2
    if call.attribute("mode", "DCR") == "DCR":
        parts, order = [n, block, block, inner, h, w], [0, 3, 4, 1, 5, 2]
    else:
        parts, order = [n, inner, block, block, h, w], [0, 1, 4, 2, 5, 3]
    x = call.w.transpose(call.w.reshape(call[0], shape=parts), axes=order)
    return call.w.reshape(x, shape=[n, inner, h * block, w * block])


def space_to_depth(call: Call) -> Any:
    """Blocks of pixels as channels."""
    block = call.attribute("blocksize")
    n, c, h, w = call.sizes(0)
    order = [0, 1, 3, 5, 2, 4] if call.attribute("mode", "DCR") != "DCR" else [0, 3, 5, 1, 2, 4]
    x = call.w.reshape(call[0], shape=[n, c, h // block, block, w // block, block])
    return call.w.reshape(call.w.transpose(x, axes=order), shape=[n, c * block**2, h // block, w // block])


def center_crop_pad(call: Call) -> Any:
    """The middle of an array, or an array in the middle of zeros."""
    x, sizes = call[0], call.numbers(1, "shape").tolist()
    axes = call.attribute("axes")
    axes = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    widths = [[0, 0] for _ in range(x.ndim)]
    for axis, target in zip(axes, sizes, strict=True):
        size = call.numbers_of(x.type.shape)[axis]
        if target < size:
            start = (size - target) // 2
            x = call.w.slice(x, axis=axis, start=start, stop=start + target)
        else:
            before = (target - size) // 2
            widths[axis] = [before, target - size - before]
    return surround(call, x, widths, 0)


def reverse_sequence(call: Call) -> Any:
    """The first positions of a time axis in the opposite order, so many in every row of a batch."""
    x, lengths = call[0], call.numbers(1, "sequence_lens")
    batch, time = call.attribute("batch_axis"), call.attribute("time_axis")
    sizes = call.sizes(0)
    places = np.arange(sizes[time])[None, :]
    places = np.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    places = places.reshape([sizes[axis] if axis in (batch, time) else 1 for axis in range(x.ndim)]) if batch < time \
        else places.T.reshape([sizes[axis] if axis in (batch, time) else 1 for axis in range(x.ndim)])
    return call.w.gather_elements(x, np.broadcast_to(places, sizes).copy(), axis=time)


def range_(call: Call) -> Any:
    """Numbers from one to another, known before a run."""
    start, limit, delta = (call.numbers(i, name).reshape(()) for i, name in enumerate(("start", "limit", "delta")))
    if delta == 0:
        raise Refusal("has a step of 0")
    number = max(0, int(np.ceil((limit - start) / delta)))
    if number > 2**24:
        raise Refusal(f"makes {number} numbers; expected at most {2**24}")
    return np.asarray(start + np.arange(number) * delta, start.dtype)


LAYOUT: Mapping[str, Callable[[Call], Any]] = {
    "Constant": constant, "ConstantOfShape": constant_of_shape, "Reshape": reshape, "Flatten": flatten,
    "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Expand": expand, "Tile": tile, "Transpose": transpose,
    "Split": split, "Slice": slice_, "Pad": pad, "Trilu": trilu, "EyeLike": eye_like,
    "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth, "CenterCropPad": center_crop_pad,
    "ReverseSequence": reverse_sequence, "Range": range_,
}
