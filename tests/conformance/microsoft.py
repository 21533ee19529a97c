"""Makes `microsoft`: tests of ONNX Runtime's own operators, in the form of ONNX's node tests.

    python microsoft.py     # needs numpy, onnx and onnxruntime

Results are ONNX Runtime's; those of gradients, which its inference package lacks, are computed here
from their definition.
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = Path(__file__).parent / "microsoft"
OPSETS = [h.make_opsetid("", 17), h.make_opsetid("com.microsoft", 1)]
random = np.random.default_rng(0)


def floats(*shape):
    return random.normal(size=shape).astype(np.float32)


def case(name, op, operands, outputs=(0,), results=None, domain="com.microsoft", **attributes):
    """One node; operands that are None are left out, `outputs` are the numbers of those wanted."""
    given = {f"i{i}": np.asarray(x) for i, x in enumerate(operands) if x is not None}
    inputs = [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in given.items()]
    named = [f"o{i}" if i in outputs else "" for i in range(max(outputs) + 1)]
    kinds = {(op, n): onnx.TensorProto.FLOAT for n in named} | {("EmbedLayerNormalization", "o1"): onnx.TensorProto.INT32}
    made = [h.make_tensor_value_info(n, kinds[op, n], None) for n in named if n]
    node = h.make_node(op, [f"i{i}" if x is not None else "" for i, x in enumerate(operands)], named,
                       domain=domain, **attributes)
    model = h.make_model(h.make_graph([node], name, inputs, made), opset_imports=OPSETS, ir_version=8)
    if results is None:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        results = session.run(None, given)
    data = HERE / f"test_{name}" / "test_data_set_0"
    data.mkdir(parents=True)
    (data.parent / "model.onnx").write_bytes(model.SerializeToString())
    for i, (n, x) in enumerate(given.items()):
        (data / f"input_{i}.pb").write_bytes(nh.from_array(x, n).SerializeToString())
    for i, x in enumerate(results):
        (data / f"output_{i}.pb").write_bytes(nh.from_array(np.asarray(x), made[i].name).SerializeToString())


def norms():
    x, skip, g, b = floats(2, 3, 8), floats(2, 3, 8), floats(8), floats(8)
    case("skip_layer_norm", "SkipLayerNormalization", [x, skip, g, b, floats(8)], (0, 3), epsilon=1e-5)
    case("skip_rms_norm", "SkipSimplifiedLayerNormalization", [x, skip, g], (0, 3), epsilon=1e-5)
    case("rms_norm", "SimplifiedLayerNormalization", [x, g], domain="", epsilon=1e-5, axis=-1)
    ids = random.integers(0, 9, (2, 5)).astype(np.int32)
    mask = np.array([[1] * 5, [1] * 3 + [0] * 2], np.int32)
    tables = [floats(9, 8), floats(6, 8), floats(2, 8)]
    case("embed_layer_norm", "EmbedLayerNormalization", [ids, ids % 2, *tables, g, b, mask], (0, 1, 2), epsilon=1e-5)
    case("embed_layer_norm_words", "EmbedLayerNormalization", [ids, None, *tables[:2], None, g, b], (0, 1), epsilon=1e-5)


def fusions():
    case("gemm_leaky_relu", "FusedGemm", [floats(3, 4), floats(5, 4), floats(5)], transB=1, activation="LeakyRelu", activation_alpha=0.1)
    x, w, b = floats(1, 3, 5, 5), floats(2, 3, 3, 3), floats(2)
    case("conv_add_relu", "FusedConv", [x, w, b, floats(1, 2, 5, 5)], activation="Relu", pads=[1, 1, 1, 1])
    case("conv_clip", "FusedConv", [x, w, b], activation="Clip", activation_params=[0.0, 1.0])
    case("conv_hard_sigmoid", "FusedConv", [x, w], activation="HardSigmoid", activation_params=[0.2, 0.5])
    case("fused_matmul", "FusedMatMul", [floats(2, 3, 4), floats(2, 5, 4)], transB=1, alpha=0.5)
    case("bias_gelu", "BiasGelu", [floats(2, 8), floats(8)])
    case("fast_gelu", "FastGelu", [floats(2, 8), floats(8)])
    case("quick_gelu", "QuickGelu", [floats(2, 8)], alpha=1.702)


def attention():
    x, w, b = floats(2, 4, 8), floats(8, 24), floats(24)
    mask = np.array([[1] * 4, [1] * 3 + [0]], np.int32)
    case("attention_mask", "Attention", [x, w, b, mask], num_heads=2)
    case("attention_lengths", "Attention", [x, w, b, np.array([4, 2], np.int32)], num_heads=2)
    case("attention_causal_past", "Attention", [x, w, b, None, floats(2, 2, 2, 3, 4)], (0, 1), num_heads=2, unidirectional=1)
    case("attention_scores", "Attention", [x, w, b, None, None, floats(2, 2, 4, 4)], num_heads=2)
    q, k, v = floats(2, 4, 8), floats(2, 6, 8), floats(2, 6, 8)
    mask = np.array([[1] * 4 + [0] * 2, [1] * 6], np.int32)
    case("multi_head_mask", "MultiHeadAttention", [q, k, v, floats(24), mask], num_heads=2)
    past = [floats(2, 2, 3, 4), floats(2, 2, 3, 4)]
    case("multi_head_past", "MultiHeadAttention", [q, floats(2, 4, 8), floats(2, 4, 8), None, None, None, *past], (0, 1, 2), num_heads=2)
    case("multi_head_cross", "MultiHeadAttention", [q, floats(2, 2, 6, 4), floats(2, 2, 6, 4)], num_heads=2, scale=0.3)
    angles = [floats(16, 8), floats(16, 8)]
    length = [np.full(2, 3, np.int32), np.array(4, np.int32)]
    new = [floats(2, 4, 64), floats(2, 4, 32), floats(2, 4, 32)]
    case("group_query_rotary", "GroupQueryAttention", [*new, None, None, *length, *angles], (0, 1, 2), num_heads=4, kv_num_heads=2, do_rotary=1)
    packed = [floats(2, 4, 128), None, None, None, None]
    case("group_query_packed", "GroupQueryAttention", [*packed, *length], (0, 1, 2), num_heads=4, kv_num_heads=2, softcap=2.0)
    places = np.tile(np.arange(4), (2, 1))
    angles = [floats(16, 4), floats(16, 4)]
    case("rotary_offset", "RotaryEmbedding", [floats(2, 4, 16), np.array([2]), *angles])
    case("rotary_interleaved", "RotaryEmbedding", [floats(2, 3, 4, 8), places, *angles], interleaved=1)
    case("rotary_partial", "RotaryEmbedding", [floats(2, 4, 48), places, *angles], num_heads=3, rotary_embedding_dim=8)


def gradients():
    g, at, sums = floats(2, 4), random.integers(0, 3, (2, 4)), np.zeros((3, 4), np.float32)
    for (i, j), x in np.ndenumerate(g):
        sums[at[i, j], j] += x
    case("gather_elements_grad", "GatherElementsGrad", [g, np.array([3, 4]), at], results=[sums], axis=0)
    g, at, sums = floats(3, 5), np.array([[0, 1], [2, 3], [0, 1]]), np.zeros((3, 4, 5), np.float32)
    for row, place in zip(g, at):
        sums[tuple(place)] += row
    case("gather_nd_grad", "GatherNDGrad", [np.array([3, 4, 5]), at, g], results=[sums])
    g, y = floats(6), np.maximum(floats(6), -0.5)
    case("elu_grad", "EluGrad", [g, y], results=[np.where(y > 0, g, g * (y + np.float32(0.5)))], alpha=0.5)
    x = floats(6)
    case("sin_grad", "SinGrad", [g, x], results=[g * np.cos(x)])
    # Element (i, j) of the input is spread over rows 2i − 1 + p and columns 2j − 1 + q of the output.
    x, w, g = floats(2, 4, 3, 3), floats(4, 3, 3, 3), floats(2, 6, 6, 6)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, c, i, j, o, p, q in np.ndindex(2, 4, 3, 3, 3, 3, 3):
        row, column, out = 2 * i - 1 + p, 2 * j - 1 + q, c // 2 * 3 + o
        if 0 <= row < 6 and 0 <= column < 6:
            dx[n, c, i, j] += g[n, out, row, column] * w[c, o, p, q]
            dw[c, o, p, q] += g[n, out, row, column] * x[n, c, i, j]
    case("conv_transpose_grad", "ConvTransposeGrad", [g, x, w], (0, 1, 2), [dx, dw, g.sum((0, 2, 3))],
         strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1], group=2)


def windows():
    new = [floats(2, 6, 32), floats(2, 6, 16), floats(2, 6, 16)]
    length = [np.full(2, 5, np.int32), np.array(6, np.int32)]
    heads = dict(num_heads=4, kv_num_heads=2)
    case("group_query_window", "GroupQueryAttention", [*new, None, None, *length], (0, 1, 2), local_window_size=2, **heads)
    case("group_query_smooth", "GroupQueryAttention", [*new, None, None, *length], (0, 1, 2), smooth_softmax=1, **heads)
    past = [floats(2, 2, 4, 8), floats(2, 2, 4, 8)]
    token = [floats(2, 1, 32), floats(2, 1, 16), floats(2, 1, 16)]
    length = [np.full(2, 4, np.int32), np.array(5, np.int32)]
    case("group_query_window_past", "GroupQueryAttention", [*token, *past, *length, None, None, None, None, floats(4)],
         (0, 1, 2), local_window_size=3, **heads)


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (norms, fusions, attention, gradients, windows):
        make()
