"""Executes what `pamc --emit onnx` writes in ONNX Runtime and compares every bit with pamc.

    python tests/executed_elsewhere.py target/release/pamc        (or `make onnxruntime`)
"""

import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ONNX = os.path.join(ROOT, "models", "onnx")
BATCH = ["--dim", "batch=2"]


def pamc(*args):
    done = subprocess.run([sys.argv[1], *args], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pamc {' '.join(args)}\n{done.stderr}")


def differing(made, wanted):
    if made.dtype != np.float32:
        return int((made != wanted).sum())
    same = made.view(np.int32) == wanted.view(np.int32)
    return int((~(same | (np.isnan(made) & np.isnan(wanted)))).sum())


def report(name, made, wanted):
    bad = {k: n for k, v in wanted.items() if (n := differing(made[k], v))}
    elements = sum(v.size for v in wanted.values())
    print(f"{name}: {len(wanted)} outputs, {elements} elements, {sum(bad.values())} differ {bad or ''}")
    return bool(bad)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def execute(path, feed):
    s = session(path)
    return dict(zip([o.name for o in s.get_outputs()], s.run(None, feed)))


def forward(folder, name, model, inputs):
    exported, given, made = (os.path.join(folder, f) for f in ("m.onnx", "in.npz", "out.npz"))
    np.savez(given, **inputs)
    pamc(model, *BATCH, "--emit", "onnx", "-o", exported)
    if model.startswith("@"):
        pamc("run", exported, "--inputs", given, "--output", made, "--device", "interpret")
    else:
        pamc("run", model, "--inputs", given, "--output", made)
    return report(name, execute(exported, inputs), dict(np.load(made)))


def safetensors(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    types = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "BOOL": "?"}
    head = json.loads(data[8 : 8 + n])
    head.pop("__metadata__", None)
    part = lambda v: data[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]]
    return {k: np.frombuffer(part(v), types[v["dtype"]]).reshape(v["shape"]) for k, v in head.items()}


def step(folder, name, model, data, *options):
    """The second step of training: from the state after the first to that after two."""
    exported, given = os.path.join(folder, "s.onnx"), os.path.join(folder, "data.npz")
    np.savez(given, **data)
    pamc(model, *BATCH, "--train", "--emit", "onnx", "-o", exported, *options)
    states = []
    for steps in ("1", "2"):
        saved = os.path.join(folder, f"{steps}.safetensors")
        pamc("train", model, "--data", given, "--batch-size", "2", "--steps", steps, "--no-shuffle",
             "--save", saved, *options)
        states.append(safetensors(saved))
    s = session(exported)
    feed = {i.name: states[0].get(i.name, data.get(i.name)) for i in s.get_inputs()}
    made = dict(zip([o.name for o in s.get_outputs()], s.run(None, feed)))
    updated = {k: states[1][k.removesuffix(".next")] for k in made if k.endswith(".next")}
    return report(name, made, updated)


def main():
    print("ONNX Runtime", onnxruntime.__version__)
    random = np.random.default_rng(0)
    f32 = lambda *shape: random.normal(size=shape).astype(np.float32)
    image, digits = f32(2, 1, 28, 28), f32(2, 784)
    with tempfile.TemporaryDirectory() as folder:
        failed = [
            forward(folder, "@mlp", "@mlp", {"input": digits}),
            forward(folder, "mlp_adamw", os.path.join(ONNX, "mlp_adamw"), {"input": digits}),
            forward(folder, "cnn_bn", os.path.join(ONNX, "cnn_bn"), {"input": image}),
            forward(folder, "patches", os.path.join(ONNX, "patches"), {"input": f32(2, 1, 16, 16)}),
            forward(folder, "lm_tiny", os.path.join(ONNX, "lm_tiny"),
                    {"ids": random.integers(0, 96, size=(2, 32))}),
            step(folder, "mlp_mse, a training step", os.path.join(ONNX, "mlp_mse"),
                 {"input": f32(2, 16), "target": f32(2, 1)}, "--grad", "exact"),
            step(folder, "cnn_bn, a training step", os.path.join(ONNX, "cnn_bn"),
                 {"input": image, "labels": np.array([3, 7])}),
            step(folder, "@translation:tiny, a training step with dropout", "@translation:tiny",
                 {name: random.integers(0, 10, size=(2, length))
                  for name, length in [("source", 6), ("target_in", 5), ("labels", 5)]}),
        ]
    print("FAILED" if any(failed) else f"{len(failed)} models: ONNX Runtime gives pamc's bits")
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
