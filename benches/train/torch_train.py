"""Trains what lenet.toml and config/train/bench-gru128.toml describe with PyTorch on one thread, and prints a line an epoch.

    torch_train.py lenet DIRECTORY EPOCHS SEED    # Fashion-MNIST as *-ubyte.gz
    torch_train.py gru TEXT EPOCHS SEED
"""

import gzip
import json
import math
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def report(epoch, loss, metric, value):
    print(json.dumps({"epoch": epoch, "train_loss": loss, metric: value}), flush=True)


def read_idx(path):
    with gzip.open(path) as file:
        data = file.read()
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, -1, 4 + 4 * rank).reshape(shape)


def lenet(directory, epochs, seed):
    def split(name):
        pictures = read_idx(f"{directory}/{name}-images-idx3-ubyte.gz").astype(np.float32) / 255
        labels = read_idx(f"{directory}/{name}-labels-idx1-ubyte.gz").astype(np.int64)
        return torch.from_numpy(pictures).unsqueeze(1), torch.from_numpy(labels)

    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )
    (x, y), (test_x, test_y) = split("train"), split("t10k")
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def measure():
        with torch.no_grad():
            right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(test_x.split(256), test_y.split(256)))
        return right / len(test_x)

    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(net(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        report(epoch, total / len(x), "accuracy", measure())
    if epochs == 0:
        report(0, 0.0, "accuracy", measure())


class Characters(nn.Module):
    def __init__(self, vocabulary, embedding=128, hidden=128):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.rnn = nn.GRU(embedding, hidden)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens, state=None):
        outputs, state = self.rnn(self.embedding(tokens), state)
        return self.head(outputs), state


def streams(tokens, rows):
    """Rows that go on side by side, [time, rows], and what comes next in each."""
    length = (len(tokens) - 1) // rows
    cut = lambda start: tokens[start : start + rows * length].reshape(rows, length).t().contiguous()
    return cut(0), cut(1)


def gru(path, epochs, seed):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    held_out = len(tokens) // 20
    (x, y), (test_x, test_y) = streams(tokens[:-held_out], 32), streams(tokens[-held_out:], 32)

    torch.manual_seed(seed)
    net = Characters(len(number))
    optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)
    windows = len(x) // 128
    step, steps = 0, windows * epochs

    def measure():
        with torch.no_grad():
            state, nats = None, 0.0
            for a, b in zip(test_x.split(128), test_y.split(128)):
                logits, state = net(a, state)
                nats += F.cross_entropy(logits.flatten(0, 1), b.flatten(), reduction="sum").item()
        return nats / test_y.numel() / math.log(2)

    for epoch in range(1, epochs + 1):
        state, total = None, 0.0
        for window in range(windows):
            at = slice(window * 128, (window + 1) * 128)
            for group in optimiser.param_groups:
                group["lr"] = 4e-3 * (1 - 0.9 * step / steps)
            logits, state = net(x[at], state)
            state = state.detach()
            loss = F.cross_entropy(logits.flatten(0, 1), y[at].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
            step += 1
        report(epoch, total / windows, "bits_per_char", measure())
    if epochs == 0:
        report(0, 0.0, "bits_per_char", measure())


if __name__ == "__main__":
    {"lenet": lenet, "gru": gru}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
