"""Makes the seeds in `corpus`: hostile ONNX models and small files of the other formats.

Needs onnx, numpy, flatbuffers and safetensors:  python corpus.py
"""

import os

import flatbuffers
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from safetensors.numpy import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
X = h.make_tensor_value_info("x", T.FLOAT, ["batch", 4])
Y = h.make_tensor_value_info("y", T.FLOAT, None)
W = nh.from_array(np.ones((4, 4), np.float32), "w")


def model(name, nodes, inputs=(X,), initializers=(W,), functions=(), opset=17, outputs=(Y,)):
    graph = h.make_graph(nodes, name, list(inputs), list(outputs), list(initializers))
    domains = [h.make_opsetid("", opset), h.make_opsetid("local", 1)]
    domains += [h.make_opsetid("ai.onnx.preview.training", 1), h.make_opsetid("com.microsoft", 1)]
    made = h.make_model(graph, opset_imports=domains, functions=list(functions))
    with open(os.path.join(HERE, name + ".onnx"), "wb") as f:
        f.write(made.SerializeToString())


def function(name, nodes):
    return h.make_function("local", name, ["a"], ["b"], nodes, [h.make_opsetid("", 17), h.make_opsetid("local", 1)])


def external(location, **more):
    t = T(name="w", dims=[4, 4], data_type=T.FLOAT, data_location=T.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        t.external_data.add(key=key, value=str(value))
    return t


def table(b, slots):
    """A flatbuffers table: (slot, method of the builder, value)."""
    b.StartObject(1 + max(slot for slot, _, _ in slots))
    for slot, method, value in slots:
        getattr(b, method)(slot, value, 0)
    return b.EndObject()


def offsets(b, items):
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return b.EndVector()


def checkpoint():
    """A checkpoint of ONNX Runtime's whose tensors lie in a second file, as those above 1.8 GB do."""
    b = flatbuffers.Builder(256)
    tensors = []
    for name, shape, offset in [("w", [4, 4], 0), ("b", [4], 64)]:
        text, dims = b.CreateString(name), b.CreateNumpyVector(np.array(shape, np.int64))
        tensors.append(table(b, [(0, "PrependUOffsetTRelativeSlot", text), (2, "PrependUOffsetTRelativeSlot", dims),
                                 (3, "PrependInt32Slot", 1), (6, "PrependInt64Slot", offset + 8)]))
    state = table(b, [(0, "PrependUOffsetTRelativeSlot", offsets(b, tensors)), (3, "PrependBoolSlot", True)])
    count = table(b, [(0, "PrependUOffsetTRelativeSlot", b.CreateString("epoch")), (1, "PrependInt64Slot", 3)])
    bag = table(b, [(0, "PrependUOffsetTRelativeSlot", offsets(b, [count]))])
    root = table(b, [(0, "PrependInt32Slot", 1), (1, "PrependUOffsetTRelativeSlot", state),
                     (3, "PrependUOffsetTRelativeSlot", bag)])
    b.Finish(root, b"ODTC")
    with open(os.path.join(HERE, "checkpoint"), "wb") as f:
        f.write(b.Output())
    np.arange(22, dtype=np.float32).tofile(os.path.join(HERE, "checkpoint.data"))


def main():
    os.makedirs(HERE, exist_ok=True)
    matmul = [h.make_node("MatMul", ["x", "w"], ["y"])]
    model("plain", matmul)
    model("dangling", [h.make_node("MatMul", ["x", "nowhere"], ["y"])])
    model("cycle", [h.make_node("Add", ["y", "x"], ["z"]), h.make_node("Relu", ["z"], ["y"])])
    model("twice", matmul + matmul)
    model("types", [h.make_node("MatMul", ["x", "w"], ["y"])],
          initializers=[nh.from_array(np.ones((4, 4), bool), "w")])
    model("huge_dims", [h.make_node("Expand", ["x", "s"], ["y"])],
          initializers=[nh.from_array(np.array([2**40, 2**20, 4]), "s")])
    model("huge_constant", [h.make_node("ConstantOfShape", ["s"], ["c"]), h.make_node("Add", ["x", "c"], ["y"])],
          initializers=[nh.from_array(np.array([2**31, 2**20]), "s")])
    grow = [h.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    model("doubling", grow + [h.make_node("MatMul", ["x", "c40"], ["y"])],
          initializers=[nh.from_array(np.ones((4, 4), np.float32), "c0")])
    model("huge_tensor", matmul, initializers=[T(name="w", dims=[2**40, 2**40], data_type=T.FLOAT, raw_data=b"1234")])
    model("negative_dims", matmul, initializers=[T(name="w", dims=[-4, -4], data_type=T.FLOAT, raw_data=b"1234")])
    model("recursion", [h.make_node("F", ["x"], ["y"], domain="local")],
          functions=[function("F", [h.make_node("F", ["a"], ["b"], domain="local")])])
    calls = [h.make_node("F0", ["x"], ["y"], domain="local")]
    wide = [function(f"F{i}", [h.make_node(f"F{i + 1}", ["a"], [f"t{j}"], domain="local") for j in range(8)]
                     + [h.make_node("Sum", [f"t{j}" for j in range(8)], ["b"])]) for i in range(20)]
    model("exponential", calls, functions=wide + [function("F20", [h.make_node("Relu", ["a"], ["b"])])])
    for i, path in enumerate(["/etc/passwd", "../corpus.py", "../../../../../../etc/hostname", ".", ""]):
        model(f"escape{i}", matmul, initializers=[external(path)])
    model("external_offset", matmul, initializers=[external("plain.onnx", offset=2**63, length=64)])
    np.arange(20, dtype=np.float32).tofile(os.path.join(HERE, "weights.bin"))
    model("external", matmul, initializers=[external("weights.bin", offset=16, length=64)])
    checkpoint()
    body = h.make_graph([h.make_node("Relu", ["x"], ["z"])], "b", [], [h.make_tensor_value_info("z", T.FLOAT, None)])
    model("branch", [h.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)],
          initializers=[nh.from_array(np.array(True), "c")])
    step = h.make_graph([h.make_node("Identity", ["c"], ["d"]), h.make_node("Add", ["v", "v"], ["u"])], "l",
                        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, []),
                         h.make_tensor_value_info("v", T.FLOAT, None)],
                        [h.make_tensor_value_info("d", T.BOOL, []), h.make_tensor_value_info("u", T.FLOAT, None)])
    model("loop", [h.make_node("Loop", ["n", "", "x"], ["y"], body=step)],
          initializers=[nh.from_array(np.array(2**62), "n")])
    train = [h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("ReduceSum", ["p"], ["y"], keepdims=0),
             h.make_node("Gradient", ["w"], ["g"], domain="ai.onnx.preview.training", xs=["w"], y="y"),
             h.make_node("Momentum", ["r", "t", "w", "g", "m"], ["w2", "m2"], alpha=0.9, beta=1.0, mode="standard",
                         norm_coefficient=0.0, domain="ai.onnx.preview.training")]
    model("gradient", train, outputs=[Y, h.make_tensor_value_info("w2", T.FLOAT, None)],
          initializers=[W, nh.from_array(np.float32(0.1), "r"), nh.from_array(np.array(1), "t"),
                        nh.from_array(np.zeros((4, 4), np.float32), "m")])
    conv = [h.make_node("Conv", ["i", "k"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2], group=1),
            h.make_node("MaxPool", ["c"], ["q"], kernel_shape=[2, 2], strides=[1, 1], ceil_mode=1),
            h.make_node("Pad", ["q", "pads"], ["y"])]
    model("convolution", conv, inputs=[h.make_tensor_value_info("i", T.FLOAT, ["n", 1, 8, 8])],
          initializers=[nh.from_array(np.ones((2, 1, 3, 3), np.float32), "k"),
                        nh.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")])
    np.savez(os.path.join(HERE, "arrays.npz"), x=np.ones((2, 3), np.float32), i=np.arange(4))
    np.savez_compressed(os.path.join(HERE, "packed.npz"), x=np.zeros((8, 8)), b=np.array([True, False]))
    np.save(os.path.join(HERE, "array.npy"), np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)))
    save_file({"w": np.ones((2, 2), np.float32), "i": np.arange(3)}, os.path.join(HERE, "weights.safetensors"))


if __name__ == "__main__":
    main()
