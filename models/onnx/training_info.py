"""Makes `training_info`: ONNX models that describe their own training, with what numpy makes of it.

Needs numpy and onnx:  python training_info.py

Each folder holds `model.onnx`, `data.npz` with one batch a step (first axis: steps × batch) and
`expected.npz` with every variable after the last step and the loss of each (`initialized` without:
there pamc draws the weights). Gradients are derived
here by hand, and the optimizers follow the formulas in ONNX's operator documentation.
"""

import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "training_info")
TRAINING = "ai.onnx.preview.training"
STEPS, BATCH = 4, 8
f32 = np.float32


def value(name, shape, kind=T.FLOAT):
    return h.make_tensor_value_info(name, kind, shape)


def graph(name, nodes, inputs=(), outputs=(), initializers=None):
    stored = [nh.from_array(np.asarray(v), n) for n, v in (initializers or {}).items()]
    return h.make_graph(nodes, name, list(inputs), list(outputs), stored)


def info(algorithm, updates, initialization=None, starts=None):
    made = onnx.TrainingInfoProto()
    made.algorithm.CopyFrom(algorithm)
    pairs = [(made.update_binding, updates), (made.initialization_binding, starts or {})]
    for binding, entries in pairs:
        for key, name in entries.items():
            binding.add(key=key, value=name)
    if initialization is not None:
        made.initialization.CopyFrom(initialization)
    return made


def save(name, inference, infos, data, expected):
    opsets = [h.make_opsetid("", 17), h.make_opsetid(TRAINING, 1)]
    model = h.make_model(inference, opset_imports=opsets, ir_version=8, producer_name="training_info.py")
    model.training_info.extend(infos)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    np.savez(os.path.join(folder, "data.npz"), **data)
    if expected:
        single = {k: np.asarray(v, None if k == "count" else f32) for k, v in expected.items()}
        np.savez(os.path.join(folder, "expected.npz"), **single)


def batches(data):
    for i in range(STEPS):
        yield {k: v[i * BATCH:(i + 1) * BATCH] for k, v in data.items()}


def classify(x, labels, w1, b1, w2, b2):
    """Mean softmax cross entropy of a ReLU network, and its gradients."""
    a = x @ w1 + b1
    r = np.maximum(a, 0)
    z = r @ w2 + b2
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels]).mean()
    dz = p.copy()
    dz[rows, labels] -= 1
    dz /= len(labels)
    da = (dz @ w2.T) * (a > 0)
    return loss, [x.T @ da, da.sum(0), r.T @ dz, dz.sum(0)]


def adam(random):
    """Gradient and Adam as nodes; a step count; weights drawn by an initialization graph."""
    shapes = {"w1": (5, 6), "b1": (6,), "w2": (6, 3), "b2": (3,)}
    names = list(shapes)
    start = {n: (random.normal(size=s) * 0.5).astype(f32) for n, s in shapes.items()}
    inference = graph("net", [
        h.make_node("Gemm", ["x", "w1", "b1"], ["a"], name="fc1"),
        h.make_node("Relu", ["a"], ["r"], name="relu"),
        h.make_node("Gemm", ["r", "w2", "b2"], ["scores"], name="fc2"),
    ], [value("x", ["batch", 5])], [value("scores", ["batch", 3])], start)
    moments = [f"{n}.{m}" for m in ("v", "h") for n in names]
    new = [f"{n}.new" for n in names + moments]
    rule = dict(alpha=0.9, beta=0.99, epsilon=1e-5, norm_coefficient=0.01)
    algorithm = graph("steps", [
        h.make_node("SoftmaxCrossEntropyLoss", ["scores", "labels"], ["loss"], name="criterion"),
        h.make_node("Gradient", names + ["x", "labels"], [f"{n}.grad" for n in names], name="gradient",
                    domain=TRAINING, xs=names, zs=["x", "labels"], y="loss"),
        h.make_node("Adam", ["rate", "count"] + names + [f"{n}.grad" for n in names] + moments, new,
                    name="adam", domain=TRAINING, **rule),
        h.make_node("Add", ["count", "one"], ["count.new"], name="counter"),
    ], [value("labels", ["batch"], T.INT64)],
        [value("loss", [])] + [value(n, None) for n in new] + [value("count.new", [], T.INT64)],
        {"rate": f32(0.05), "count": np.int64(0), "one": np.int64(1),
         **{m: np.zeros(shapes[m[:2]], f32) for m in moments}})
    updates = dict(zip(names + moments + ["count"], new + ["count.new"]))
    initialization = graph("start", [
        h.make_node("RandomNormal", [], ["start1"], shape=[5, 6], scale=0.25),
        h.make_node("RandomUniform", [], ["start2"], shape=[6, 3], low=-0.5, high=0.5),
        h.make_node("Constant", [], ["zero3"], value=nh.from_array(np.zeros(3, f32))),
    ], outputs=[value("start1", [5, 6]), value("start2", [6, 3]), value("zero3", [3])])
    data = {"x": random.normal(size=(STEPS * BATCH, 5)).astype(f32),
            "labels": random.integers(0, 3, STEPS * BATCH)}
    p = {n: v.astype(np.float64) for n, v in start.items()}
    v, s = ({n: np.zeros(shapes[n]) for n in names} for _ in range(2))
    losses = []
    for t, b in enumerate(batches(data)):
        loss, gradients = classify(b["x"], b["labels"], *p.values())
        losses.append(loss)
        rate = 0.05 * np.sqrt(1 - 0.99 ** t) / (1 - 0.9 ** t) if t > 0 else 0.05
        for n, g in zip(names, gradients):
            g = g + 0.01 * p[n]
            v[n] = 0.9 * v[n] + 0.1 * g
            s[n] = 0.99 * s[n] + 0.01 * g * g
            p[n] = p[n] - rate * v[n] / (np.sqrt(s[n]) + 1e-5)
    expected = {"losses": np.array(losses), **p, "count": np.int64(STEPS)}
    expected |= {f"{n}.v": v[n] for n in names} | {f"{n}.h": s[n] for n in names}
    save("adam", inference, [info(algorithm, updates)], data, expected)
    starts = {"w1": "start1", "w2": "start2", "b2": "zero3"}
    save("initialized", inference, [info(algorithm, updates, initialization, starts)], data, {})


def explicit(random):
    """Linear regression with its gradients written out, and the learning rate as an input."""
    start = {"w": random.normal(size=(4, 1)).astype(f32), "b": np.array([0.5], f32)}
    inference = graph("net", [
        h.make_node("MatMul", ["x", "w"], ["product"], name="product"),
        h.make_node("Add", ["product", "b"], ["y"], name="bias"),
    ], [value("x", ["batch", 4])], [value("y", ["batch", 1])], start)
    algorithm = graph("steps", [
        h.make_node("Sub", ["y", "t"], ["error"], name="error"),
        h.make_node("Mul", ["error", "error"], ["square"], name="square"),
        h.make_node("ReduceMean", ["square"], ["cost"], name="mean", keepdims=0),
        h.make_node("Transpose", ["x"], ["xt"], name="transpose"),
        h.make_node("MatMul", ["xt", "error"], ["gw"], name="gw"),
        h.make_node("ReduceSum", ["error", "axis"], ["gb"], name="gb", keepdims=0),
        h.make_node("Mul", ["rate", "share"], ["factor"], name="factor"),
        h.make_node("Mul", ["gw", "factor"], ["dw"], name="dw"),
        h.make_node("Mul", ["gb", "factor"], ["db"], name="db"),
        h.make_node("Sub", ["w", "dw"], ["w.new"], name="step_w"),
        h.make_node("Sub", ["b", "db"], ["b.new"], name="step_b"),
    ], [value("t", ["batch", 1]), value("rate", [])],
        [value("cost", []), value("w.new", [4, 1]), value("b.new", [1])],
        {"axis": np.array([0]), "share": f32(2 / BATCH)})
    data = {"x": random.normal(size=(STEPS * BATCH, 4)).astype(f32)}
    data["t"] = (data["x"].sum(1, keepdims=True) - 1).astype(f32)
    w, b = (v.astype(np.float64) for v in start.values())
    losses = []
    for batch in batches(data):
        error = batch["x"] @ w + b - batch["t"]
        losses.append((error ** 2).mean())
        w = w - 0.125 * 2 / BATCH * batch["x"].T @ error
        b = b - 0.125 * 2 / BATCH * error.sum(0)
    save("explicit", inference, [info(algorithm, {"w": "w.new", "b": "b.new"})], data,
         {"losses": np.array(losses), "w": w, "b": b})


def players(random):
    """Two algorithms that use the same names; the second sees what the first has changed."""
    start = {"w": random.normal(size=(3, 3)).astype(f32), "u": random.normal(size=(3, 1)).astype(f32)}
    inference = graph("net", [
        h.make_node("MatMul", ["x", "w"], ["inner"], name="first"),
        h.make_node("MatMul", ["inner", "u"], ["y"], name="second"),
    ], [value("x", ["batch", 3])], [value("y", ["batch", 1])], start)
    loss = [
        h.make_node("Sub", ["y", "t"], ["error"], name="error"),
        h.make_node("Mul", ["error", "error"], ["square"], name="square"),
        h.make_node("ReduceMean", ["square"], ["loss"], name="mean", keepdims=0),
    ]

    def player(p, op, state, rate, **rule):
        nodes = loss + [
            h.make_node("Gradient", [p, "x"], ["g"], name="gradient", domain=TRAINING, xs=[p], zs=["x"], y="loss"),
            h.make_node(op, ["rate", "count", p, "g", state], ["new", "state.new"], name="rule", domain=TRAINING, **rule),
        ]
        made = graph("steps", nodes, [value("t", ["batch", 1])], [value("loss", []), value("new", None), value("state.new", None)],
                     {"rate": f32(rate), "count": np.int64(1), state: np.zeros_like(start[p])})
        return info(made, {p: "new", state: "state.new"})

    infos = [player("w", "Adagrad", "w.h", 0.25, epsilon=1e-6, decay_factor=0.0, norm_coefficient=0.0),
             player("u", "Momentum", "u.v", 0.125, alpha=0.5, beta=1.0, mode="standard", norm_coefficient=0.0)]
    data = {"x": random.normal(size=(STEPS * BATCH, 3)).astype(f32)}
    data["t"] = data["x"].sum(1, keepdims=True).astype(f32)
    w, u = (v.astype(np.float64) for v in start.values())
    hw, vu, losses = np.zeros_like(w), np.zeros_like(u), []
    for b in batches(data):
        error = b["x"] @ w @ u - b["t"]
        losses.append((error ** 2).mean())
        g = 2 / BATCH * b["x"].T @ error @ u.T
        hw = hw + g * g
        w = w - 0.25 * g / (np.sqrt(hw) + 1e-6)
        error = b["x"] @ w @ u - b["t"]
        g = 2 / BATCH * (b["x"] @ w).T @ error
        vu = 0.5 * vu + g
        u = u - 0.125 * vu
    save("players", inference, infos, data, {"losses": np.array(losses), "w": w, "u": u, "w.h": hw, "u.v": vu})


if __name__ == "__main__":
    for make in (adam, explicit, players):
        make(np.random.default_rng(7))
