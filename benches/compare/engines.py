"""Times this program, ONNX Runtime and OpenVINO on packages' networks, and prints one JSON line a row.

A picture is the network's own input and a text its token ids, nothing is decoded; what generates text makes one step.
Every engine gets the same weights and as many threads, and they take turns row by row, so that what else the machine
does falls on all alike.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino

from onnx_of import onnx_of

WARM_UPS, RUNS_MIN, SECONDS = 3, 11, 1.0

# How far two engines may be apart: more, and one of them computes something else.
TOLERANCE = 1e-3


def onnx_runtime(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def open_vino(model, threads):
    core = openvino.Core()
    # Where it could, it would compute in bf16: all others compute in f32.
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda inputs: request.infer(inputs)[0]


ENGINES = {"onnxruntime": onnx_runtime, "openvino": open_vino}


class Subject:
    """A package, and of texts the number of tokens."""

    def __init__(self, store, model, tokens):
        self.store, self.model, self.tokens = store, model if "/" in model else f"{model}/1", tokens
        manifest = tomllib.loads((self.package() / "manifest.toml").read_text())
        self.reads_text = manifest["task"] == "text-embedding"

    def package(self):
        return self.store / self.model

    def name(self):
        return f"{self.model}, {self.tokens} tokens" if self.reads_text else self.model

    def inputs(self, onnx_model, batch):
        """The same ones at every call."""
        chance = np.random.default_rng(1)
        free = {"batch": batch, "time": self.tokens}
        inputs = {}
        for value in onnx_model.graph.input:
            kind = value.type.tensor_type
            shape = [free.get(size.dim_param, size.dim_value) for size in kind.shape.dim]
            if kind.elem_type == onnx.TensorProto.INT64:
                inputs[value.name] = chance.integers(0, 60, shape, dtype=np.int64)
            else:
                inputs[value.name] = chance.standard_normal(shape, dtype=np.float32)
        return inputs


def maas(program, subject, batch, threads):
    """What `maas bench` measures; of a text of one token a word, framed by two."""
    command = [program, "bench", subject.model, "--in-process", "--network", "--json", f"--store={subject.store}"]
    command += [f"--batch={batch}", f"--threads={threads}"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
        if subject.reads_text:
            text.write("the " * (subject.tokens - 2))
            text.flush()
            command += [f"--input={text.name}"]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(line)["median_us"]


def median_us(run, inputs):
    for _ in range(WARM_UPS):
        run(inputs)
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS or len(times) < RUNS_MIN:
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def measure(program, subject, batches, threads):
    """Engine, batch and median of every row with this many threads."""
    model = onnx_of(subject.package())
    text = model.SerializeToString()
    runs = {engine: start(text, threads) for engine, start in ENGINES.items()}
    for batch in batches:
        inputs = subject.inputs(model, batch)
        answers = [np.array(run(inputs)) for run in runs.values()]
        apart = max(np.abs(answer - answers[0]).max() for answer in answers)
        if not apart <= TOLERANCE:
            sys.exit(f"{subject.model}: the engines differ by {apart}: expected at most {TOLERANCE}")
        yield "maas", batch, maas(program, subject, batch, threads)
        for engine, run in runs.items():
            yield engine, batch, median_us(run, inputs)


def main():
    numbers = lambda text: [int(number) for number in text.split(",")]
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("program", help="the release build of maas")
    arguments.add_argument("store", type=Path)
    arguments.add_argument("models", nargs="+", help="name or name/version")
    arguments.add_argument("--batch", type=numbers, default=[1, 8, 32])
    arguments.add_argument("--threads", type=numbers, default=[1, 2])
    arguments.add_argument("--tokens", type=numbers, default=[16, 128], help="tokens of a text")
    said = arguments.parse_args()
    for model in said.models:
        subjects = [Subject(said.store, model, tokens) for tokens in said.tokens]
        for subject in subjects if subjects[0].reads_text else subjects[:1]:
            for threads in said.threads:
                for engine, batch, median in measure(said.program, subject, said.batch, threads):
                    figure = {"engine": engine, "model": subject.name(), "batch": batch, "threads": threads}
                    print(json.dumps(figure | {"median_us": round(median, 1)}), flush=True)


if __name__ == "__main__":
    main()
