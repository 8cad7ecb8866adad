"""A package as the peers need it: its network as ONNX, and what goes in and out, in a file beside it."""

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "compare"))

from bodies import GENERATED, HEAD, oip, questions
from gru_loop import gru_loop
from onnx_of import onnx_of

TEXT = {"datatype": "BYTES", "shape": [1]}


def sides(kind, manifest):
    """What goes in and comes out."""
    numbers = lambda side: {"datatype": "FP32", "shape": manifest[side][0]["shape"]}
    named = lambda side: {"name": manifest[side][0]["name"]} | numbers(side)
    return {
        "pictures": (named("inputs"), named("outputs")),
        "embedding": ({"name": "text"} | TEXT, {"name": "embedding"} | numbers("outputs")),
        "generation": ({"name": "text_input"} | TEXT, {"name": "text_output"} | TEXT),
        "speech": ({"name": "wav"} | TEXT, {"name": "text"} | TEXT),
    }[kind]


def describe(row, store):
    """What a row's package is called, where it is, and what goes in and out."""
    package = (store / row.package / "1").resolve()
    if not package.exists():
        sys.exit(f"{store}: expected a package {row.package}/1")
    given, gives = sides(row.kind, tomllib.loads((package / "manifest.toml").read_text(encoding="utf-8")))
    return {"name": row.package, "kind": row.kind, "package": str(package), "input": given, "output": gives}


def prepare(row, store, whisper, scratch):
    """The subject of a row with its files, and its questions."""
    subject = describe(row, store)
    scratch.mkdir(parents=True, exist_ok=True)
    subject |= {"whisper": str(whisper), "file": str(scratch / "subject.json")}
    package = Path(subject["package"])
    if row.kind != "speech":
        model = gru_loop(package, GENERATED) if row.kind == "generation" else onnx_of(package)
        subject["onnx"] = str(scratch / "network.onnx")
        Path(subject["onnx"]).write_bytes(model.SerializeToString())
    asked = questions(row, package, subject)
    example = oip(replace(row, form="json") if row.form == "health" else row, subject, asked[:1])
    (scratch / "example").write_bytes(example.bodies[0])
    subject["example"] = {"body": str(scratch / "example"), "head": int(example.headers.get(HEAD, 0))}
    Path(subject["file"]).write_text(json.dumps(subject))
    return subject, asked
