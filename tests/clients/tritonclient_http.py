"""Triton's own client, unchanged, over HTTP: pip install 'tritonclient[http]'.

Needs a server on the shipped models; MAAS_HTTP is its address, MAAS_ADMIN_KEY a key of its administrator.
"""

import os
import wave
from pathlib import Path

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

ADDRESS = os.environ.get("MAAS_HTTP", "127.0.0.1:8080")
ADMIN = {"Authorization": f"Bearer {os.environ.get('MAAS_ADMIN_KEY', '')}"}
MODELS = Path(__file__).parents[2] / "models"

client = triton.InferenceServerClient(ADDRESS)


def refused(call, *words):
    """The call fails, and its text says these words."""
    try:
        call()
    except InferenceServerException as error:
        for word in words:
            assert word in str(error), (word, error)
    else:
        raise AssertionError(f"not refused: {words}")


# The server and what it knows of its models.
assert client.is_server_live() and client.is_server_ready()
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
assert client.is_model_ready("fashion") and client.is_model_ready("fashion", "1")
metadata = client.get_model_metadata("fashion")
assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
config = client.get_model_config("fashion")
assert config["input"][0]["data_type"] == "TYPE_FP32" and config["max_batch_size"] >= 64
refused(lambda: client.get_model_metadata("nothing"), "fashion", "kjv")
refused(lambda: client.is_model_ready("nothing") or client.get_model_metadata("nothing", "1"))

# Numbers: a batch of pictures as tensors, as bytes and as JSON, packed and not.
pictures = np.random.default_rng(7).normal(size=(8, 1, 28, 28)).astype(np.float32)
answers = []
for binary in [True, False]:
    image = triton.InferInput("image", pictures.shape, "FP32")
    image.set_data_from_numpy(pictures, binary_data=binary)
    output = triton.InferRequestedOutput("probabilities", binary_data=binary)
    for packing in [None, "gzip", "deflate"]:
        result = client.infer(
            "fashion",
            [image],
            outputs=[output],
            request_id="seven",
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        assert result.get_response()["id"] == "seven"
        assert result.get_response()["model_version"] == "1"
        answers.append(result.as_numpy("probabilities"))
assert all(np.array_equal(answer, answers[0]) for answer in answers)
assert answers[0].shape == (8, 10) and np.allclose(answers[0].sum(axis=1), 1, atol=1e-5)
digest = result.get_response()["parameters"]["maas_digest"]
assert len(digest) == 64, digest

# No outputs named: all of them, as bytes. Another type of number is taken by its value.
image = triton.InferInput("image", [1, 1, 28, 28], "FP16")
image.set_data_from_numpy(pictures[:1].astype(np.float16))
half = client.infer("fashion", [image], model_version="1").as_numpy("probabilities")
assert np.allclose(half, answers[0][:1], atol=1e-2)

# The best classes with their labels.
image = triton.InferInput("image", [8, 1, 28, 28], "FP32")
image.set_data_from_numpy(pictures)
best = triton.InferRequestedOutput("probabilities", class_count=3)
classes = client.infer("fashion", [image], outputs=[best]).as_numpy("probabilities")
assert classes.shape == (8, 3)
value, index, label = classes[0][0].decode().split(":")
assert int(index) == answers[0][0].argmax() and np.isclose(float(value), answers[0][0].max())

# Files: a picture and a recording, as elements of BYTES.
boot = (MODELS / "fashion/1/golden/boot.png").read_bytes()
image = triton.InferInput("image", [1, 1], "BYTES")
image.set_data_from_numpy(np.array([[boot]], dtype=object))
classes = client.infer("fashion", [image], outputs=[best]).as_numpy("probabilities")
assert b"Ankle boot" in classes[0][0], classes
code = MODELS / "digits/1/golden/code.wav"
recording = triton.InferInput("waveform", [1], "BYTES")
recording.set_data_from_numpy(np.array([code.read_bytes()], dtype=object))
assert client.infer("digits", [recording]).as_numpy("text")[0][0] == b"three eight one five"

# The same recording as its samples.
with wave.open(str(code)) as sound:
    samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
samples = (samples / 32768).astype(np.float32)[None]
if sound.getframerate() == 16000:
    waveform = triton.InferInput("waveform", samples.shape, "FP32")
    waveform.set_data_from_numpy(samples)
    assert client.infer("digits", [waveform]).as_numpy("text")[0][0] == b"three eight one five"

# Texts, with the model's parameters and those of the schedule.
texts = triton.InferInput("text_input", [2, 1], "BYTES")
for binary in [True, False]:
    texts.set_data_from_numpy(np.array([["In the "], ["And "]], dtype=object), binary_data=binary)
    result = client.infer(
        "kjv", [texts], priority=1, timeout=5_000_000, parameters={"max_tokens": 12, "seed": 7}
    )
    assert result.as_numpy("text_output").shape == (2, 1)
    assert result.as_numpy("completion_tokens").tolist() == [[12], [12]]
    assert result.as_numpy("seed").dtype == np.uint64

# Several at once.
waiting = [client.async_infer("fashion", [triton_input]) for triton_input in [image] * 4]
assert all(one.get_result().as_numpy("probabilities") is not None for one in waiting)

# What is not usable is refused, and says why.
wrong = triton.InferInput("image", [1, 28, 28], "FP32")
wrong.set_data_from_numpy(pictures[0])
refused(lambda: client.infer("fashion", [wrong]), "shape", "[batch, 1, 28, 28]")
named = triton.InferInput("picture", [1, 1, 28, 28], "FP32")
named.set_data_from_numpy(pictures[:1])
refused(lambda: client.infer("fashion", [named]), "image")
refused(lambda: client.infer("fashion", [image], parameters={"colour": 1}), "top_k")
refused(lambda: client.infer("fashion", [image], sequence_id=5), "sequence_")
refused(
    lambda: client.infer("fashion", [image], outputs=[triton.InferRequestedOutput("scores")]),
    "probabilities",
)
refused(lambda: client.infer("fashion", [image], model_version="9"), "version")

# What each model has done.
stats = client.get_inference_statistics("fashion")["model_stats"][0]
assert stats["inference_count"] >= 62 and stats["inference_stats"]["success"]["count"] >= 10, stats
assert stats["inference_stats"]["fail"]["count"] >= 4 and stats["last_inference"] > 1.7e12
assert sum(size["compute_infer"]["count"] for size in stats["batch_stats"]) == stats["execution_count"]
assert len(client.get_inference_statistics()["model_stats"]) >= 3

# The repository: names only, and only for an administrator.
index = client.get_model_repository_index(headers=ADMIN)
assert {"name": "kjv", "version": "1", "state": "READY", "reason": ""} in index
refused(lambda: client.get_model_repository_index(), "key")
client.unload_model("kjv", headers=ADMIN)
assert not client.is_model_ready("kjv")
assert any(entry["state"] == "UNAVAILABLE" for entry in client.get_model_repository_index(headers=ADMIN))
refused(lambda: client.infer("kjv", [texts]), "unloaded")
client.load_model("kjv", headers=ADMIN)
assert client.is_model_ready("kjv")
refused(lambda: client.load_model("kjv", headers=ADMIN, config="{}"), "content")
refused(lambda: client.load_model("../kjv", headers=ADMIN))

# The log.
assert client.get_log_settings()["log_info"] is True
assert client.update_log_settings({"log_verbose_level": 1}, headers=ADMIN)["log_verbose_level"] == 1
client.update_log_settings({"log_verbose_level": 0}, headers=ADMIN)
refused(lambda: client.update_log_settings({"log_file": "/tmp/x"}, headers=ADMIN), "log_verbose_level")

# What this server does not have says so.
refused(lambda: client.get_trace_settings(), "not offered")
refused(lambda: client.get_system_shared_memory_status(), "not offered")
refused(lambda: client.register_system_shared_memory("a", "/a", 64), "not offered")

print("tritonclient http: passed")
