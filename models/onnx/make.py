"""Makes the ONNX Runtime training sets in this folder.

Needs torch 2.4.1 (`patches`: 2.15), onnx, numpy and onnxruntime-training 1.19.2 (the last release of it):

    python make.py mlp_adamw
    python make.py lm_tiny
    python make.py cnn_bn
    python make.py mlp_mse
    python make.py patches

writes training_model.onnx, eval_model.onnx, optimizer_model.onnx, checkpoint and forward.onnx
into the folder of that name. The weights are random and no seed was recorded, so a new run gives files of
the same structure with other weights, and golden_losses.json (ONNX Runtime's own run of the
committed files) does not belong to it.
"""

import math
import os
import sys

import onnx
import torch
from onnxruntime.training import artifacts


class Mlp(torch.nn.Module):
    """784-128-10 with ReLU."""

    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(784, 128)
        self.fc2 = torch.nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Attention(torch.nn.Module):
    """Four heads; `mask` is added to the scores."""

    def __init__(self, d, heads):
        super().__init__()
        self.q, self.k, self.v, self.o = (torch.nn.Linear(d, d) for _ in range(4))
        self.heads = heads

    def forward(self, x, mask):
        b, t, d = x.shape

        def split(y):
            return y.reshape(y.shape[0], y.shape[1], self.heads, d // self.heads).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads) + mask
        return self.o((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(b, t, d))


class Block(torch.nn.Module):
    """Pre-norm transformer block with tanh-GELU written out."""

    def __init__(self, d):
        super().__init__()
        self.a = Attention(d, 4)
        self.n1, self.n2 = torch.nn.LayerNorm(d), torch.nn.LayerNorm(d)
        self.f1, self.f2 = torch.nn.Linear(d, 4 * d), torch.nn.Linear(4 * d, d)

    def forward(self, x, mask):
        x = x + self.a(self.n1(x), mask)
        h = self.f1(self.n2(x))
        h = 0.5 * (h * (1.0 + torch.tanh(0.7978845608 * (h + 0.044715 * (h * (h * h))))))
        return x + self.f2(h)


class Lm(torch.nn.Module):
    """Two blocks, width 64, context 32, 96 symbols; returns [batch·32, 96] logits."""

    def __init__(self, symbols=96, d=64, t=32):
        super().__init__()
        self.te, self.pe = torch.nn.Embedding(symbols, d), torch.nn.Embedding(t, d)
        self.bl = torch.nn.ModuleList(Block(d) for _ in range(2))
        self.nf, self.hd = torch.nn.LayerNorm(d), torch.nn.Linear(d, symbols, bias=False)
        self.register_buffer("mask", torch.triu(torch.full((t, t), -1e9), diagonal=1))
        self.register_buffer("pos", torch.arange(t))

    def forward(self, ids):
        x = self.te(ids) + self.pe(self.pos)
        for block in self.bl:
            x = block(x, self.mask)
        y = self.hd(self.nf(x))
        return y.reshape(-1, y.shape[-1])


class Cnn(torch.nn.Module):
    """Convolution, batch norm, strided convolution, pooling, linear; 28 × 28 to 10 classes."""

    def __init__(self):
        super().__init__()
        self.c1 = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.b1 = torch.nn.BatchNorm2d(8)
        self.c2 = torch.nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.p = torch.nn.MaxPool2d(2)
        self.fc = torch.nn.Linear(16 * 7 * 7, 10)

    def forward(self, x):
        x = torch.relu(self.b1(self.c1(x)))
        return self.fc(self.p(torch.relu(self.c2(x))).flatten(1))


class Regression(torch.nn.Module):
    """16-32-1 with ReLU."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(16, 32), torch.nn.Linear(32, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Patches(torch.nn.Module):
    """Patches of an image, one block with a fused projection, softsign; 16 × 16 to 4 classes. Its
    gradient nodes are the rarer ones: of slices, quotients, average pooling, GELU with a bias."""

    def __init__(self, d=8):
        super().__init__()
        self.embed = torch.nn.Conv2d(1, d, 3, stride=2, padding=1)
        self.pool = torch.nn.AvgPool2d(2)
        self.qkv, self.o = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)
        self.f1, self.f2 = torch.nn.Linear(d, 2 * d), torch.nn.Linear(2 * d, d)
        self.head = torch.nn.Linear(d, 4)

    def forward(self, x):
        x = self.pool(self.embed(x)).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(x).chunk(3, -1)
        x = x + self.o(torch.softmax(q @ k.transpose(-2, -1) / 3.0, -1) @ v)
        x = x + self.f2(torch.nn.functional.gelu(self.f1(x)))
        x = x[:, 1:14:3] / (1.5 + torch.sigmoid(x[:, 2:15:3]))
        return self.head(torch.nn.functional.softsign(x).mean(1))


SETS = {
    "patches": (Patches, torch.zeros(2, 1, 16, 16), "input", {"output": {0: "batch"}}),
    "mlp_adamw": (Mlp, torch.zeros(2, 784), "input", {"output": {0: "batch"}}),
    "lm_tiny": (Lm, torch.zeros(2, 32, dtype=torch.int64), "ids", {"output": {0: "rows"}}),
    "cnn_bn": (Cnn, torch.zeros(2, 1, 28, 28), "input", {"output": {0: "batch"}}),
    "mlp_mse": (Regression, torch.zeros(2, 16), "input", {"output": {0: "batch"}}),
}


def main(name):
    make, example, input_name, output_axes = SETS[name]
    model = make()
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    os.makedirs(folder, exist_ok=True)
    forward = os.path.join(folder, "forward.onnx")
    torch.onnx.export(
        model,
        example,
        forward,
        input_names=[input_name],
        output_names=["output"],
        dynamic_axes={input_name: {0: "batch"}, **output_axes},
        opset_version=17,
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
        **({"dynamo": False} if torch.__version__ >= "2.5" else {}),
    )
    trained = [n for n, _ in model.named_parameters()]
    frozen = [n for n, _ in model.named_buffers() if not n.endswith("num_batches_tracked")]
    regression = name == "mlp_mse"
    artifacts.generate_artifacts(
        onnx.load(forward),
        requires_grad=trained,
        frozen_params=frozen,
        loss=artifacts.LossType.MSELoss if regression else artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.AdamW,
        artifact_directory=folder,
    )


if __name__ == "__main__":
    main(sys.argv[1])
