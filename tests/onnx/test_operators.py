"""Operators that are compositions of gates, where ONNX's own tests do not look: beside ONNX's evaluator in float64."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import circuitflow as cf
from support.onnx_models import imported, model, port, tensor

F64 = np.float64


def deform_conv():
    """Two groups, three groups of offsets, strides, dilations, uneven pads, a mask and a bias."""
    chance = np.random.default_rng(0)
    x, w = chance.standard_normal((2, 6, 7, 6)), chance.standard_normal((4, 3, 3, 2))
    offset = chance.uniform(-1.7, 1.7, (2, 3 * 6 * 2, 3, 5))
    rest = {"bias": chance.standard_normal(4), "mask": chance.uniform(0.2, 1, (2, 3 * 6, 3, 5))}
    return ("DeformConv", {"x": x, "w": w, "offset": offset, **rest}, {},
            {"group": 2, "offset_group": 3, "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 1, 0]}, 1e-6)


def roi_align(**attributes):
    """A region inside, one across the edge, one outside."""
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9))
    rois = np.array([[1.13, 0.71, 6.27, 5.96], [5.31, 2.28, 12.17, 9.41], [-9.34, -8.71, -3.23, -1.69]])
    return ("RoiAlign", {"x": x, "rois": rois}, {"batch": np.array([1, 0, 1])},
            {"output_height": 2, "output_width": 3, **attributes}, 1e-12)


def scatter_elements(reduction):
    x, updates = (np.random.default_rng(i).standard_normal((4, 5)) for i in (0, 1))
    return ("ScatterElements", {"x": x}, {"indices": np.array([[1, -1, 1], [0, 0, 2]]), "updates": updates[:2, :3]},
            {"axis": 1, "reduction": reduction}, 1e-12)


CASES = {
    "deform_conv": deform_conv(),
    "roi_align of half pixels": roi_align(sampling_ratio=2, spatial_scale=0.7),
    "roi_align of whole pixels": roi_align(sampling_ratio=3, coordinate_transformation_mode="output_half_pixel"),
    "roi_align, largest": roi_align(sampling_ratio=2, mode="max"),
    "scatter, mul": scatter_elements("mul"), "scatter, max": scatter_elements("max"),
    "scatter, min": scatter_elements("min"),
    "scatter_nd, mul": ("ScatterND", {"x": np.random.default_rng(0).standard_normal((3, 2, 2))}, {
        "indices": np.array([[0, 1], [-1, 0], [0, 1]]), "updates": np.random.default_rng(1).standard_normal((3, 2))},
        {"reduction": "mul"}, 1e-12),
    "conv_transpose, larger than its windows": ("ConvTranspose", {
        "x": np.random.default_rng(0).standard_normal((1, 2, 3, 3)), "w": np.ones((2, 2, 3, 3)), "b": np.ones(2)}, {},
        {"strides": [3, 2], "output_shape": [10, 8]}, 1e-12),
    "max_unpool": ("MaxUnpool", {"x": np.arange(1.0, 9).reshape(1, 2, 2, 2)}, {
        "indices": np.array([0, 3, 11, 9, 17, 18, 27, 30]).reshape(1, 2, 2, 2)}, {"kernel_shape": [2, 2],
                                                                                "strides": [2, 2]}, 1e-12),
    "tensor_scatter, circular": ("TensorScatter", {"x": np.zeros((2, 5, 3)), "updates": np.ones((2, 3, 3))}, {
        "at": np.array([4, 1])}, {"mode": "circular"}, 1e-12),
    "resize, cropped where the size stays": ("Resize", {"x": np.random.default_rng(0).standard_normal((1, 2, 5, 3))}, {
        "roi": np.array([0, 0, 0.13, 0, 1, 1, 0.83, 1]), "scales": np.array([1, 1, 1, 1.7], np.float32)},
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, 1e-6),
    "einsum of diagonals": ("Einsum", {"x": np.random.default_rng(0).standard_normal((3, 2, 3, 3)),
                                       "d": np.ones(3)}, {}, {"equation": "aiaa,a->ia"}, 1e-12),
}


def case_of(name):
    """The model of a case, and its operands that are differentiated."""
    operator, floats, others, attributes, _ = CASES[name]
    names = {"DeformConv": ["x", "w", "offset", "bias", "mask"]}.get(operator, [*floats, *others])
    node = helper.make_node(operator, names, ["y"], **attributes)
    proto = model([node], [port(key, *x.shape, dtype=TensorProto.DOUBLE) for key, x in floats.items()],
                  [port("y", dtype=TensorProto.DOUBLE)], [tensor(key, x, x.dtype) for key, x in others.items()],
                  opset=24)
    return proto, floats


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    proto, floats = case_of(name)
    rtol, evaluator = CASES[name][-1], ReferenceEvaluator(proto)
    (expected,) = evaluator.run(None, floats)
    circuit = imported(proto).circuit
    weights = np.random.default_rng(5).standard_normal(expected.shape)
    run = cf.Executor(circuit).run(floats, upstream={"y": weights})
    np.testing.assert_allclose(run.outputs["y"], expected, rtol, 10 * rtol)
    along = {key: np.random.default_rng(6).standard_normal(x.shape) for key, x in floats.items()}
    step = 1e-5 if rtol < 1e-9 else 1e-2  # the evaluator has float32 inside of deformed convolutions
    if rtol < 1e-9:
        ends = [sum(weights.ravel() * evaluator.run(None, {
            key: x + t * along[key] for key, x in floats.items()})[0].ravel()) for t in (step, -step)]
    else:
        ends = [sum(weights.ravel() * cf.Executor(circuit).forward({
            key: x + t * along[key] for key, x in floats.items()}).outputs["y"].ravel()) for t in (1e-6, -1e-6)]
        step = 1e-6
    slope = sum(np.sum(run.gradients[key] * v) for key, v in along.items())
    assert np.isclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


INTEGERS = np.random.default_rng(0).integers(0, 255, (2, 4, 6, 5), np.uint8)


def test_quantized_convolutions():
    """A scale for every channel; exact before it is rounded. Weights are small, so that sums overflow nowhere."""
    weights = np.random.default_rng(1).integers(-64, 64, (4, 2, 3, 3), np.int8)
    tensors = {"xs": np.float32(0.02), "xz": np.uint8(120), "w": weights, "ws": np.linspace(0.01, 0.02, 4,
               dtype=np.float32), "wz": np.zeros(4, np.int8), "ys": np.float32(0.3), "yz": np.uint8(100),
               "b": np.arange(4, dtype=np.int32) * 100}
    node = helper.make_node("QLinearConv", ["x", *tensors], ["y"], group=2, pads=[1, 0, 0, 1], strides=[2, 1])
    proto = model([node], [port("x", 2, 4, 6, 5, dtype=TensorProto.UINT8)], [port("y", dtype=TensorProto.UINT8)],
                  [tensor(name, x, x.dtype) for name, x in tensors.items()])
    out = cf.Executor(imported(proto).circuit).forward({"x": INTEGERS}).outputs["y"]
    import onnxruntime
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": INTEGERS})
    assert out.dtype == np.uint8
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint8])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_order_of_integers(dtype, largest):
    """Of all their digits, which float64 has not; the first of equal ones."""
    limits, chance = np.iinfo(dtype), np.random.default_rng(0)
    x = chance.integers(limits.min, limits.max, (3, 40), dtype, endpoint=True)
    x[1] = limits.max - chance.integers(0, 4, 40).astype(dtype)
    x[2] = limits.min + chance.integers(0, 4, 40).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model([("TopK", "x,k", "y,at", {"largest": largest, "axis": 1})], [port("x", 3, 40, dtype=kind)],
                  [port("y", dtype=kind), port("at", dtype=TensorProto.INT64)], [tensor("k", [7], np.int64)], opset=24)
    out = cf.Executor(imported(proto).circuit).forward({"x": x}).outputs
    order = [sorted(range(40), key=lambda i: (-int(row[i]) if largest else int(row[i]), i))[:7] for row in x]
    assert out["at"].tolist() == order
    assert out["y"].tolist() == np.take_along_axis(x, np.array(order), 1).tolist()
    assert out["y"].dtype == dtype


def test_positions_of_a_pool_in_column_major_order():
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 5)).astype(np.float32)
    results = []
    for order in (0, 1):
        proto = model([("MaxPool", "x", "y,at", {"kernel_shape": [2, 2], "storage_order": order})],
                      [port("x", 2, 2, 4, 5)], [port("y"), port("at", dtype=TensorProto.INT64)])
        results.append(cf.Executor(imported(proto).circuit).forward({"x": x}).outputs["at"])
    image, place = np.divmod(results[0], 20)
    assert np.array_equal(results[1], image * 20 + place % 5 * 4 + place // 5)


def test_corners_aligned_by_a_fraction_are_noted():
    """There ONNX's definition, which its own tests hold to, and ONNX Runtime differ; by sizes they agree."""
    x = np.random.default_rng(0).standard_normal((1, 1, 5, 4)).astype(np.float32)
    results = {}
    for name, inputs in (("scales", "x,,scales"), ("sizes", "x,,,sizes")):
        proto = model([("Resize", inputs, "y", {"mode": "linear", "coordinate_transformation_mode": "align_corners"})],
                      [port("x", 1, 1, 5, 4)], [port("y", None, None, None, None)],
                      [tensor("scales", [1, 1, 1.5, 2]), tensor("sizes", [1, 1, 7, 8], np.int64)])
        found = imported(proto)
        results[name] = cf.Executor(found.circuit).forward({"x": x}).outputs["y"]
        theirs = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
        assert np.allclose(results[name], theirs, atol=1e-5) == (name == "sizes")
        assert [note.partition(" aligns")[0] for note in found.notes] == ["node 'y' (Resize)"] * (name == "scales")
    assert results["scales"].shape == results["sizes"].shape


@pytest.mark.parametrize(("nodes", "message"), [
    ([("NonZero", "x", "y")], "needs to know its input 'x' (of which the number of positions depends)"),
    ([("RoiAlign", "image,x,at", "y")], "needs to know its input 'x' (rois, since sampling_ratio is 0)"),
    ([("BitwiseNot", "bits", "y")], "needs to know its input 'bits' (no gate works on bits) before a run"),
    ([("ScatterElements", "big,at3,up", "y", {"reduction": "mul"})], "expected at most 16777216 pairs of them"),
])
def test_what_is_refused(nodes, message):
    with pytest.raises(cf.DocumentError) as caught:
        imported(model(nodes, [port("x", 3, 4), port("image", 1, 1, 4, 4), port("big", 2**23), port("up", 3),
                               port("bits", 2, dtype=TensorProto.INT64)], [port("y")],
                       [tensor("at", [0, 0, 0], np.int64), tensor("at3", [0, 1, 1], np.int64)]))
    assert message in str(caught.value)
