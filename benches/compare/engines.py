"""Times this program, ONNX Runtime, OpenVINO and PyTorch on packages' networks, and prints one JSON line a row.

A picture is the network's own input and a text its token ids, nothing is decoded; what generates text makes one step, or
reads a prompt; of Whisper the encoder and one step of the decoder are timed apart, and a clip from its file to its text
beside faster-whisper. Every engine gets the same weights and as many threads, and they take turns row by row, so that
what else the machine does falls on all alike. Rows that the file of lines holds already are passed over.
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

import faster_whisper
import numpy as np
import onnx
import onnxruntime
import openvino
import torch

from floor import floor_us
from onnx_of import onnx_of
from torch_of import torch_of

WARM_UPS, RUNS_MIN, SECONDS = 3, 11, 1.0

# How far two engines may be apart: more, and one of them computes something else.
TOLERANCE = 1e-3

# Tokens of a generating model's prompt, and those that a Whisper has read before the step that is timed.
PROMPT, READ = 128, 32

# What of a network is timed, and for how many rows at once.
PARTS = {
    "cnn": [("", [1, 8, 32])],
    "bert": [("16 tokens", [1, 8, 32]), ("128 tokens", [1, 8, 32])],
    "gru": [("step", [1, 8, 32]), ("prompt", [1, 32])],
    "whisper": [("encoder", [1]), ("step", [1]), ("clip", [1])],
}


def onnx_runtime(subject, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    text = subject.onnx.SerializeToString()
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    return lambda inputs: lambda: session.run(None, inputs)[0]


def open_vino(subject, threads):
    core = openvino.Core()
    # Where it could, it would compute in bf16: all others compute in f32.
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(subject.onnx.SerializeToString())
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda inputs: lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[0]


def pytorch(subject, threads):
    torch.set_num_threads(threads)
    run = torch_of(subject.package(), subject.part)

    def prepare(inputs):
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        for name, tensor in tensors.items():
            if "keys" in name:
                # Its attention reads keys by position: they lie so from the start.
                tensors[name] = tensor.transpose(2, 3).contiguous().transpose(2, 3)
        return lambda: run(**tensors)[0].numpy()

    return prepare


ENGINES = {"onnxruntime": onnx_runtime, "openvino": open_vino, "pytorch": pytorch}


class Subject:
    """A package, and what of it is timed."""

    def __init__(self, store, model, part):
        self.store, self.model, self.part = store, model, part
        self.onnx = None if part == "clip" else onnx_of(self.package(), part)

    def package(self):
        return self.store / self.model

    def name(self):
        return f"{self.model}, {self.part}" if self.part else self.model

    def tokens(self):
        """Of a text, where that is what is timed."""
        return int(self.part.removesuffix(" tokens")) if self.part.endswith(" tokens") else 0

    def inputs(self, batch):
        """The same ones at every call."""
        chance = np.random.default_rng(1)
        time = {"prompt": PROMPT, "step": 1}.get(self.part) or self.tokens()
        free = {"batch": batch, "time": time, "read": READ}
        inputs = {}
        for value in self.onnx.graph.input:
            kind = value.type.tensor_type
            shape = [free.get(size.dim_param, size.dim_value) for size in kind.shape.dim]
            if value.name == "at":
                inputs[value.name] = np.array([READ])
            elif kind.elem_type == onnx.TensorProto.INT64:
                inputs[value.name] = chance.integers(0, 60, shape, dtype=np.int64)
            else:
                inputs[value.name] = chance.standard_normal(shape, dtype=np.float32)
        return inputs

    def clip(self):
        """The recording of the package's first golden sample."""
        samples = json.loads((self.package() / "golden/samples.json").read_text(encoding="utf-8"))
        return self.package() / samples[0]["input"]


def maas(program, subject, batch, threads):
    """What `maas bench` measures; of a text of one token a word, framed by two."""
    command = [program, "bench", subject.model, "--in-process", "--json", f"--store={subject.store}"]
    command += [f"--batch={batch}", f"--threads={threads}"]
    if subject.part in ("encoder", "step", "prompt"):
        command += [f"--network={subject.part}"]
    elif subject.part != "clip":
        command += ["--network"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
        if subject.tokens():
            text.write("the " * (subject.tokens() - 2))
            text.flush()
            command += [f"--input={text.name}"]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(line)["median_us"]


def speed(program, threads):
    """Of a matrix product, and of reading memory."""
    line = subprocess.run([program, f"--threads={threads}"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(line)


def median_us(run):
    for _ in range(WARM_UPS):
        run()
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS or len(times) < RUNS_MIN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def in_turns(timed, rounds):
    """The least that each measured in so many rounds: others on the machine slow it down, and nothing speeds it up."""
    all_rounds = [{engine: measure() for engine, measure in timed.items()} for _ in range(rounds)]
    return {engine: min(row[engine] for row in all_rounds) for engine in timed}


def networks(said, subject, batches, threads):
    """Of every batch, each engine's median with this many threads."""
    engines = {engine: start(subject, threads) for engine, start in ENGINES.items()}
    for batch in batches:
        inputs = subject.inputs(batch)
        runs = {engine: prepare(inputs) for engine, prepare in engines.items()}
        answers = [np.array(run()) for run in runs.values()]
        apart = max(np.abs(answer - answers[0]).max() for answer in answers)
        if not apart <= TOLERANCE * max(1, np.abs(answers[0]).max()):
            sys.exit(f"{subject.name()}: the engines differ by {apart}: expected at most {TOLERANCE}")
        timed = {
            "floor": lambda: floor_us(subject.onnx, inputs, speed(said.floors, threads)),
            "maas": lambda: maas(said.program, subject, batch, threads),
        }
        timed |= {engine: lambda run=run: median_us(run) for engine, run in runs.items()}
        yield batch, in_turns(timed, said.rounds)


def clips(said, subject, threads):
    """From a file to its text, by the likeliest token each time."""
    def listen(precision):
        # A model a turn: threads of the other one would still be waiting for work.
        options = {"device": "cpu", "compute_type": precision, "cpu_threads": threads, "num_workers": 1}
        model = faster_whisper.WhisperModel(str(said.faster_whisper), **options)
        clip = str(subject.clip())
        return median_us(lambda: list(model.transcribe(clip, beam_size=1, language="en")[0]))

    timed = {"maas": lambda: maas(said.program, subject, 1, threads)}
    for precision in ("float32", "int8"):
        timed[f"faster-whisper {precision}"] = lambda precision=precision: listen(precision)
    yield 1, in_turns(timed, said.rounds)


def kind_of(package):
    architecture = tomllib.loads((package / "manifest.toml").read_text(encoding="utf-8"))["architecture"]
    return architecture["config"].get("kind", architecture["name"])


def arguments():
    numbers = lambda text: [int(number) for number in text.split(",")]

    def positive(text):
        if not text.isdecimal() or int(text) == 0:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
        return int(text)

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("program", help="the release build of maas")
    arguments.add_argument("floors", help="the release build of benches/floors.rs")
    arguments.add_argument("lines", type=Path, help="where the lines are, and are added to")
    arguments.add_argument("models", nargs="+", type=Path, help="packages: STORE/NAME/VERSION")
    arguments.add_argument("--faster-whisper", type=Path, help="a Whisper of CTranslate2's form, the same as in the store")
    arguments.add_argument("--threads", type=numbers, default=[1, 2])
    arguments.add_argument("--rounds", type=positive, default=1, help="turns of each engine on a row; its fastest counts")
    return arguments.parse_args()


def main():
    said = arguments()
    torch.set_grad_enabled(False)
    said.lines.touch()
    known = {tuple(json.loads(line)["row"]) for line in said.lines.read_text(encoding="utf-8").splitlines()}
    for package in said.models:
        store, model = package.parent.parent, f"{package.parent.name}/{package.name}"
        for part, batches in PARTS[kind_of(package)]:
            if part == "clip" and not said.faster_whisper:
                continue
            name, subject = (f"{model}, {part}" if part else model), None
            for threads in said.threads:
                left = [batch for batch in batches if (name, threads, batch) not in known]
                if not left:
                    continue
                subject = subject or Subject(store, model, part)
                rows = clips(said, subject, threads) if part == "clip" else networks(said, subject, left, threads)
                for batch, row in rows:
                    row = {engine: round(median, 1) for engine, median in row.items()}
                    with said.lines.open("a") as lines:
                        lines.write(json.dumps({"row": [name, threads, batch], "median_us": row}) + "\n")
                    print(name, threads, batch, row, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
