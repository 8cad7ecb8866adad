"""Times ONNX Runtime and OpenVINO on packages' networks, and prints one JSON line a row."""

import argparse
import json
import os
import statistics
import sys
import time

import numpy as np
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


def sample(model, batch, tokens):
    """Inputs of a batch, the same ones at every call."""
    chance = np.random.default_rng(1)
    value = model.graph.input[0]
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim][1:]
    if value.name == "ids":
        return {"ids": chance.integers(1000, 20000, (batch, tokens), dtype=np.int64)}
    return {value.name: chance.standard_normal((batch, *sizes), dtype=np.float32)}


def median_us(run, inputs):
    for _ in range(WARM_UPS):
        run(inputs)
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS or len(times) < RUNS_MIN:
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def main():
    numbers = lambda text: [int(number) for number in text.split(",")]
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("packages", nargs="+", help="directories of packages")
    arguments.add_argument("--batch", type=numbers, default=[1, 8, 32])
    arguments.add_argument("--threads", type=numbers, default=[1, 2])
    arguments.add_argument("--tokens", type=int, default=128, help="tokens of a text")
    said = arguments.parse_args()
    for package in said.packages:
        name = "/".join(os.path.normpath(package).split(os.sep)[-2:])
        model = onnx_of(package)
        text = model.SerializeToString()
        for threads in said.threads:
            runs = {engine: start(text, threads) for engine, start in ENGINES.items()}
            for batch in said.batch:
                inputs = sample(model, batch, said.tokens)
                answers = [np.array(run(inputs)) for run in runs.values()]
                apart = max(np.abs(answer - answers[0]).max() for answer in answers)
                if not apart <= TOLERANCE:
                    sys.exit(f"{package}: the engines differ by {apart}: expected at most {TOLERANCE}")
                for engine, run in runs.items():
                    figure = {"engine": engine, "model": name, "batch": batch, "threads": threads}
                    print(json.dumps(figure | {"median_us": round(median_us(run, inputs), 1)}), flush=True)


if __name__ == "__main__":
    main()
