#!/usr/bin/env python3
"""Trains models in several arithmetics and seeds and prints the table of the README, as Markdown.

    models/results.py target/release/pamc [ROW ...]

Each cell is the mean over the seeds (0, 1, 2) of the host's float64 metric on the held-out data, in
brackets the difference from ordinary float arithmetic in the same runs. Standard library only.
"""
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DATA = Path(__file__).parent / "data"
ONNX = Path(__file__).parent / "onnx"
MNIST = ["--data", DATA / "mnist5k_train.npz", "--eval", DATA / "mnist5k_test.npz", "--batch-size", "50"]
LM = ["--data", DATA / "lm_tiny_train.npz", "--eval", DATA / "lm_tiny_valid.npz", "--batch-size", "32"]
TEXT = ["--data", DATA / "shakespeare_train.txt", "--eval", DATA / "shakespeare_valid.txt",
        "--batch-size", "16"]

ROWS = {  # name: (model, arguments, metric)
    "mlp": ("@mlp", [*MNIST, "--epochs", "10"], "accuracy"),
    "cnn": ("@cnn", [*MNIST, "--epochs", "5"], "accuracy"),
    "vit": ("@vit:small", [*MNIST, "--epochs", "8", "--lr", "1e-3", "--schedule", "cosine:warmup=40"], "accuracy"),
    "lm_tiny": (ONNX / "lm_tiny", [*LM, "--steps", "1000", "--lr", "3e-3"], "eval_loss"),
    "gpt": ("@gpt", [*TEXT, "--steps", "200", "--lr", "1e-3", "--schedule", "cosine:warmup=20"], "eval_loss"),
}
KINDS = {
    "float": ["--arith", "float"],
    "best": [],
    "paper": ["--recipe", "paper"],
    "exact everywhere": ["--grad", "exact"],
    "approx everywhere": ["--grad", "approx,loss=approx"],
}
QUICK = ["float", "best"]  # all that the large rows are run in
LARGE = ["vit", "gpt"]
SEEDS = (0, 1, 2)


def run(pamc, model, arguments, kind, seed):
    # Results do not depend on the number of threads; two runs at once use two cores best.
    command = [pamc, "train", model, *arguments, *KINDS[kind], "--seed", str(seed), "--threads", "1", "--json"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout), None


def cell(results, metric, base):
    values = [r[metric] for r in results]
    mean = sum(values) / len(values)
    if metric == "accuracy":
        text, change = f"{100 * mean:.2f} %", f"{100 * (mean - (base or mean)):+.2f}"
    else:
        text, change = f"{mean:.4f}", f"{mean - (base or mean):+.4f}"
    return mean, text if base is None else f"{text} ({change})"


def main():
    pamc, names = sys.argv[1], sys.argv[2:] or list(ROWS)
    print("| model | metric |", " | ".join(KINDS), "|")
    print("|---" * (len(KINDS) + 2) + "|")
    for name in names:
        model, arguments, metric = ROWS[name]
        kinds = QUICK if name in LARGE else list(KINDS)
        jobs = [(kind, seed) for kind in kinds for seed in SEEDS]
        with ThreadPoolExecutor(2) as pool:
            outcomes = pool.map(lambda job: run(pamc, model, arguments, *job), jobs)
            outcomes = dict(zip(jobs, outcomes))
        base, cells = None, []
        for kind in KINDS:
            if kind not in kinds:
                cells.append("not run")
                continue
            done = [outcomes[kind, seed] for seed in SEEDS]
            failed = [why for _, why in done if why]
            if failed:
                cells.append(f"failed: {failed[0]}")
                continue
            mean, text = cell([r for r, _ in done], metric, base)
            base = mean if kind == "float" else base
            cells.append(text)
        print(f"| `{name}` | {metric} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
