"""What is asked, in the words of each kind of server, and how answers are compared.

Every engine gets the same questions. The peers speak the Open Inference Protocol v2 (JSON, or its binary tensor extension);
maas speaks /v1/predict, and in binary whichever way of `maas` it answers.
"""

import io
import json
import wave
from dataclasses import dataclass, field

import numpy as np

HEAD = "Inference-Header-Content-Length"
QUESTIONS = 8
GENERATED = 100
CLIP_S, SAMPLE_RATE = 5, 16000
# A score, and of an embedding the cosine. Speech in int8 may hear one word in eight differently.
SCORE_APART, COSINE_MIN, WORDS_APART = 1e-3, 0.999, 0.125
VERSE = "In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness "
PROSE = (
    "the people of the town came to the market in the early morning and found that the old clock had stopped, so they "
    "asked the man who kept it to look at the wheels, and he said that a small bird had made her nest among them and "
    "that he would not move her before the summer was over, for time could wait and the young birds could not"
).split()


@dataclass(frozen=True)
class Row:
    """A line of the table: a package, what its network does, the form of bodies, and the tokens of a text."""

    name: str
    package: str
    kind: str
    form: str = "json"
    tokens: int = 0


ROWS = [
    Row("lenet-binary", "lenet-cifar", "pictures", "binary"),
    Row("lenet-json", "lenet-cifar", "pictures"),
    Row("efficientnet-binary", "efficientnet-lite0", "pictures", "binary"),
    Row("efficientnet-json", "efficientnet-lite0", "pictures"),
    Row("gru-128", "gru-128", "generation"),
    Row("gru-256", "kjv", "generation"),
    Row("minilm-22", "minilm-l6", "embedding", tokens=22),
    Row("minilm-95", "minilm-l6", "embedding", tokens=95),
    Row("whisper", "whisper-tiny-en", "speech", "binary"),
    Row("health", "lenet-cifar", "pictures", "health"),
]


@dataclass(frozen=True)
class Request:
    """One request with several bodies to send in turn. `oip` says how its answers are read."""

    path: str
    bodies: list
    headers: dict = field(default_factory=dict)
    method: str = "POST"
    oip: bool = False


def text_of(tokenizer, tokens, start):
    """A text of exactly so many tokens, those that frame it included."""
    words = []
    while len(tokenizer.encode(" ".join(words)).ids) < tokens:
        words.append(PROSE[(start + len(words)) % len(PROSE)])
    while len(tokenizer.encode(" ".join(words)).ids) > tokens:
        words.pop()
    words += ["the"] * (tokens - len(tokenizer.encode(" ".join(words)).ids))
    return " ".join(words)


def clip(path):
    """The first seconds of a recording, as a WAV file of one channel and 16 bits."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="int16", frames=CLIP_S * SAMPLE_RATE, always_2d=True)
    if rate != SAMPLE_RATE:
        raise SystemExit(f"{path}: a sample rate of {rate} Hz: expected {SAMPLE_RATE}")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples[:, 0].tobytes())
    return file.getvalue()


def questions(row, package, subject):
    """Arrays, or texts and recordings as bytes."""
    if row.kind == "pictures":
        chance = np.random.default_rng(1)
        return [chance.standard_normal(subject["input"]["shape"], dtype=np.float32) for _ in range(QUESTIONS)]
    if row.kind == "generation":
        return [VERSE[at * 8 : at * 8 + 16].encode() for at in range(QUESTIONS)]
    if row.kind == "embedding":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
        tokenizer.no_padding()
        return [text_of(tokenizer, row.tokens, start).encode() for start in range(QUESTIONS)]
    return [clip(path) for path in sorted((package / "golden").glob("*.flac"))]


def numbers(question):
    """As few digits as tell a 32-bit float from its neighbours."""
    return "[" + ",".join(str(value) for value in question.ravel()) + "]"


def oip(row, subject, asked):
    """The request in the Open Inference Protocol v2."""
    path = f"/v2/models/{subject['name']}/infer"
    if row.form == "health":
        return Request("/v2/health/live", [b""], method="GET", oip=True)
    said = {"name": subject["input"]["name"], "datatype": subject["input"]["datatype"], "shape": [1, *subject["input"]["shape"]]}
    if row.form == "json":
        bodies = []
        for question in asked:
            data = numbers(question) if isinstance(question, np.ndarray) else json.dumps([question.decode()])
            bodies.append(f'{{"inputs":[{json.dumps(said)[:-1]},"data":{data}}}]}}'.encode())
        return Request(path, bodies, {"Content-Type": "application/json"}, oip=True)
    bodies, heads = [], set()
    for question in asked:
        data = question.tobytes() if isinstance(question, np.ndarray) else len(question).to_bytes(4, "little") + question
        head = {"inputs": [said | {"parameters": {"binary_data_size": len(data)}}], "parameters": {"binary_data_output": True}}
        head = json.dumps(head).encode()
        heads.add(len(head))
        bodies.append(head + data)
    if len(heads) != 1:
        raise SystemExit(f"{row.name}: bodies of different sizes: expected questions alike")
    headers = {"Content-Type": "application/octet-stream", HEAD: str(heads.pop())}
    return Request(path, bodies, headers, oip=True)


def maas(row, subject, asked):
    """What maas is asked: pictures as all are asked for them."""
    if row.form == "health":
        return Request("/livez", [b""], method="GET")
    if row.kind == "speech":
        return Request(f"/v1/predict/{subject['name']}", asked, {"Content-Type": "audio/wav"})
    return oip(row, subject, asked) if row.kind == "pictures" else plain(row, subject, asked)


def plain(row, subject, asked):
    """/v1/predict in JSON; speech as it is."""
    bodies = []
    for question in asked:
        if row.kind == "pictures":
            shape = json.dumps(subject["input"]["shape"])
            bodies.append(f'{{"inputs":{{"shape":{shape},"data":{numbers(question)}}}}}'.encode())
        else:
            said = {"inputs": question.decode()}
            if row.kind == "generation":
                said["parameters"] = {"max_tokens": GENERATED, "temperature": 0}
            bodies.append(json.dumps(said).encode())
    return Request(f"/v1/predict/{subject['name']}", bodies, {"Content-Type": "application/json"})


def answer(request, kind, headers, body):
    """What a response says: scores by class, a vector or a text."""
    if not request.oip:
        said = json.loads(body)
        if kind == "pictures":
            return {best["index"]: best["score"] for best in said["predictions"]}
        return said["embedding"] if kind == "embedding" else said["text"]
    head = int(headers.get(HEAD, 0))
    said = json.loads(body[:head] if head else body)["outputs"][0]
    if kind in ("generation", "speech"):
        return body[head + 4 :].decode() if head else said["data"][0]
    values = np.frombuffer(body, np.float32, offset=head) if head else np.array(said["data"])
    return values if kind == "embedding" else dict(enumerate(values.tolist()))


def apart(kind, expected, got):
    """A word on what is wrong with an answer, or nothing. `expected` is what maas said."""
    if kind == "pictures":
        far = max(abs(score - got.get(index, np.inf)) for index, score in expected.items())
        return "" if far <= SCORE_APART else f"scores that are {far:.3g} apart"
    if kind == "embedding":
        a, b = np.array(expected), np.array(got)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return "" if cosine >= COSINE_MIN else f"an embedding with a cosine of {cosine:.4f}"
    if kind == "speech":
        wrong, of = distance(words(expected), words(got)), len(words(expected))
        return "" if wrong <= WORDS_APART * of else f"{wrong} of {of} words: {got!r}, not {expected!r}"
    return "" if expected == got else f"{got!r}, not {expected!r}"


def words(text):
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).split()


def distance(a, b):
    """Levenshtein's, of words."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]
