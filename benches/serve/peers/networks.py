"""What the peers compute with: a package's network on ONNX Runtime, or faster-whisper; one thread inside each.

Every one takes a batch and answers with an array of as many rows. A subject, which says what to open and what goes in and
out, is what `serve.py` writes: kind, name, onnx, package, whisper, input, output.
"""

import io
import json
import os
import wave
from pathlib import Path

import numpy as np


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def by_length(rows, run):
    """Runs rows of one length together: the networks know no padding."""
    groups, answers = {}, [None] * len(rows)
    for index, row in enumerate(rows):
        groups.setdefault(len(row), []).append(index)
    for indices in groups.values():
        for index, answer in zip(indices, run(np.array([rows[at] for at in indices], np.int64))):
            answers[index] = answer
    return answers


class Pictures:
    """Ready pictures [batch, channels, rows, columns] to probabilities."""

    def __init__(self, subject):
        self.session = session(subject["onnx"])

    def run(self, pictures):
        return self.session.run(None, {"x": pictures})[0]


class Embedding:
    """Texts, as bytes, to vectors."""

    def __init__(self, subject):
        from tokenizers import Tokenizer

        self.session = session(subject["onnx"])
        self.tokenizer = Tokenizer.from_file(str(Path(subject["package"]) / "tokenizer.json"))
        self.tokenizer.no_padding()

    def run(self, texts):
        rows = [coded.ids for coded in self.tokenizer.encode_batch([text.decode() for text in texts])]
        return np.stack(by_length(rows, lambda ids: self.session.run(None, {"ids": ids})[0]))


class Generation:
    """Prompts, as bytes, to their continuations."""

    def __init__(self, subject):
        self.session = session(subject["onnx"])
        self.characters = json.loads((Path(subject["package"]) / "vocabulary.json").read_text(encoding="utf-8"))
        self.ids = {character: index for index, character in enumerate(self.characters)}

    def run(self, prompts):
        rows = [[self.ids[character] for character in prompt.decode()] for prompt in prompts]
        continued = by_length(rows, lambda ids: self.session.run(None, {"prompt": ids})[0].T)
        texts = ["".join(self.characters[token] for token in tokens).encode() for tokens in continued]
        return np.array(texts, object)


class Speech:
    """Recordings, as bytes of WAV files of 16 kHz, one channel and 16 bits, to texts: int8, the likeliest token each."""

    def __init__(self, subject):
        from faster_whisper import WhisperModel

        how = {"device": "cpu", "compute_type": "int8", "cpu_threads": 1}
        self.model = WhisperModel(subject["whisper"], num_workers=int(os.environ.get("THREADS", 1)), **how)

    def transcribe(self, recording):
        with wave.open(io.BytesIO(recording)) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / np.float32(32768)
        how = {"beam_size": 1, "temperature": 0.0, "without_timestamps": True, "condition_on_previous_text": False}
        segments, _ = self.model.transcribe(samples, language="en", **how)
        return "".join(segment.text for segment in segments).strip().encode()

    def run(self, recordings):
        return np.array([self.transcribe(recording) for recording in recordings], object)


KINDS = {"pictures": Pictures, "embedding": Embedding, "generation": Generation, "speech": Speech}


def open_network(subject):
    return KINDS[subject["kind"]](subject)
