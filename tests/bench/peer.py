"""PyTorch beside `cargo bench --bench bench -- --peer PYTHON`: answers each line of JSON on standard
input with one number. {"prepare": case, "threads": n} gets ready (0), "time" runs once (seconds),
"memory" tells by how many bytes the process has grown at most since it was last told to prepare."""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def resident(key):
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) * 1024 for l in status if l.startswith(key))


class Block(nn.Module):
    """Pre- or post-norm transformer block; `cross` adds attention to a memory."""

    def __init__(self, d, heads, hidden, activation, post=False, cross=False, eps=1e-5):
        super().__init__()
        self.heads, self.activation, self.post, self.cross = heads, activation, post, cross
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        if cross:
            self.q, self.kv, self.cross_out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
            self.norm3 = nn.LayerNorm(d, eps)
        self.norm1, self.norm2 = nn.LayerNorm(d, eps), nn.LayerNorm(d, eps)
        self.fc1, self.fc2 = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def attend(self, q, k, v, mask):
        b, t, d = q.shape
        split = lambda x: x.view(b, x.shape[1], self.heads, d // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask)
        return y.transpose(1, 2).reshape(b, t, d)

    def join(self, x, norm, f):
        return norm(x + f(x)) if self.post else x + f(norm(x))

    def forward(self, x, mask=None, memory=None, memory_mask=None):
        x = self.join(x, self.norm1, lambda y: self.out(self.attend(*self.qkv(y).chunk(3, -1), mask)))
        norm = self.norm2
        if self.cross:
            attend = lambda y: self.attend(self.q(y), *self.kv(memory).chunk(2, -1), memory_mask)
            x = self.join(x, norm, lambda y: self.cross_out(attend(y)))
            norm = self.norm3
        return self.join(x, norm, lambda y: self.fc2(self.activation(self.fc1(y))))


class Gpt(nn.Module):
    def __init__(self, vocab=96, context=128, d=192, layers=4, heads=6):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, d), nn.Parameter(torch.randn(context, d))
        self.blocks = nn.ModuleList(Block(d, heads, 4 * d, F.relu) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)
        self.register_buffer("mask", torch.ones(context, context, dtype=torch.bool).tril())

    def loss(self, ids, labels):
        x = self.tokens(ids) + self.positions
        for block in self.blocks:
            x = block(x, self.mask)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), labels.flatten())


class Translation(nn.Module):
    def __init__(self, source=8848, target=6632, length=64, d=512, layers=6, heads=4, ffn=1024):
        super().__init__()
        self.d = d
        self.source, self.target = nn.Embedding(source, d), nn.Embedding(target, d)
        self.encoder = nn.ModuleList(Block(d, heads, ffn, F.relu, post=True) for _ in range(layers))
        self.decoder = nn.ModuleList(
            Block(d, heads, ffn, F.relu, post=True, cross=True) for _ in range(layers)
        )
        self.register_buffer("positions", torch.randn(length, d))
        self.register_buffer("mask", torch.ones(length, length, dtype=torch.bool).tril())

    def loss(self, source, target, labels):
        source_mask = (source != 0)[:, None, None, :]
        memory = self.source(source) * math.sqrt(self.d) + self.positions
        for block in self.encoder:
            memory = block(memory, source_mask)
        x = self.target(target) * math.sqrt(self.d) + self.positions
        mask = self.mask & (target != 0)[:, None, None, :]
        for block in self.decoder:
            x = block(x, mask, memory, source_mask)
        logits = x @ self.target.weight.t()
        return F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=0, label_smoothing=0.1
        )


class Vit(nn.Module):
    """DeiT-Tiny."""

    def __init__(self, d=192, layers=12, heads=3, patch=16, image=224, classes=1000):
        super().__init__()
        self.patch = nn.Conv2d(3, d, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.positions = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, d))
        self.blocks = nn.ModuleList(Block(d, heads, 4 * d, F.gelu, eps=1e-6) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, classes)

    def loss(self, image, labels):
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x[:, 0])), labels)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def loss(self, image, labels):
        return F.cross_entropy(self.net(image), labels)


def step(model, *data):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run():
        optimizer.zero_grad()
        model.loss(*data).backward()
        optimizer.step()

    return run


def adamw(n):
    w = nn.Parameter(torch.randn(n))
    w.grad = torch.randn(n) * 0.1
    return torch.optim.AdamW([w], lr=1e-3).step


def ids(*shape):
    return torch.randint(1, 90, shape)


def prepare(case):
    what, b = case["what"], case.get("batch")
    if what == "matmul":
        m, k, n = (case[x] for x in "mkn")
        a = torch.randn(b, k, m).transpose(1, 2) if case["transposed"][0] else torch.randn(b, m, k)
        c = torch.randn(b, n, k).transpose(1, 2) if case["transposed"][1] else torch.randn(b, k, n)
        if b == 1:
            a, c, out = a[0], c[0], torch.empty(m, n)
            return lambda: torch.mm(a, c, out=out)
        out = torch.empty(b, m, n)
        return lambda: torch.bmm(a, c, out=out)
    if what == "adamw":
        return adamw(case["n"])
    if what == "mlp":
        return step(Mlp(), torch.randn(b, 784), ids(b) % 10)
    if what == "gpt":
        return step(Gpt(), ids(b, 128), ids(b, 128))
    if what == "translation":
        return step(Translation(), ids(b, 64), ids(b, 64), ids(b, 64))
    if what == "vit":
        return step(Vit(), torch.randn(b, 3, 224, 224), ids(b))
    if what == "attention":
        q, k, v = (torch.randn(1, case["heads"], case["t"], case["d"]) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=case["causal"])
    x = torch.rand(case["rows"], case["n"]) * 8 - 4
    if what == "softmax":
        return lambda: torch.softmax(x, -1)
    if what == "gelu_tanh":
        return lambda: F.gelu(x, approximate="tanh")
    if what == "conv":
        image, weight = x.view(8, -1, 32, 32), torch.randn(case["rows"] // 8, case["rows"] // 8, 3, 3)
        return lambda: F.conv2d(image, weight, padding=1)
    gain, bias = torch.ones(case["n"]), torch.zeros(case["n"])
    return lambda: F.layer_norm(x, (case["n"],), gain, bias)


def main():
    run = calls = start = None
    for line in sys.stdin:
        question = json.loads(line)
        if question == "time":
            began = time.perf_counter()
            for _ in range(calls):
                run()
            answer = time.perf_counter() - began
        elif question == "memory":
            answer = resident("VmHWM") - start
        else:
            torch.set_num_threads(question["threads"])
            run = None
            with open("/proc/self/clear_refs", "w") as refs:
                refs.write("5")
            start = resident("VmRSS")
            case = question["prepare"]
            run, calls = prepare(case), case["calls"]
            answer = 0
        print(answer, flush=True)


main()
