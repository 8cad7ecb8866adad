"""Fresh weights of LeNet on 32x32 colour pictures: what a network takes does not depend on what it has learned.

    python benches/compare/lenet_cifar.py DIRECTORY

writes weights.safetensors and labels.txt there, for `maas import` with lenet_cifar.toml.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SHAPES = {0: (6, 3, 5, 5), 3: (16, 6, 5, 5), 7: (120, 400), 9: (84, 120), 11: (10, 84)}


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    tensors = {}
    for layer, shape in SHAPES.items():
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        tensors[f"layers.{layer}.weight"] = (chance.standard_normal(shape) * scale).astype(np.float32)
        tensors[f"layers.{layer}.bias"] = (chance.standard_normal(shape[0]) * scale).astype(np.float32)
    # Scores far enough apart for a golden sample.
    tensors["layers.11.weight"] *= 40
    save_file(tensors, directory / "weights.safetensors")
    (directory / "labels.txt").write_text("".join(f"class {i}\n" for i in range(10)))


if __name__ == "__main__":
    main()
