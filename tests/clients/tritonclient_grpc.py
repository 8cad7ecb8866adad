"""Triton's own client, unchanged, over gRPC: pip install 'tritonclient[grpc]'.

Needs a server on the shipped models; MAAS_GRPC is its address, MAAS_ADMIN_KEY a key of its administrator.
"""

import os
import queue
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ADDRESS = os.environ.get("MAAS_GRPC", "127.0.0.1:9000")
ADMIN = {"authorization": f"Bearer {os.environ.get('MAAS_ADMIN_KEY', '')}"}
MODELS = Path(__file__).parents[2] / "models"

client = triton.InferenceServerClient(ADDRESS)


def refused(call, status, *words):
    """The call fails with this status, and its text says these words."""
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()), (status, error.status(), error)
        for word in words:
            assert word in str(error), (word, error)
    else:
        raise AssertionError(f"not refused: {words}")


# The server and what it knows of its models.
assert client.is_server_live() and client.is_server_ready()
assert "classification" in client.get_server_metadata().extensions
assert client.is_model_ready("fashion") and client.is_model_ready("fashion", "1")
metadata = client.get_model_metadata("fashion", as_json=True)
assert metadata["inputs"] == [
    {"name": "image", "datatype": "FP32", "shape": ["-1", "1", "28", "28"]}
]
config = client.get_model_config("kjv").config
assert config.input[0].data_type == 13 and config.model_transaction_policy.decoupled
refused(lambda: client.get_model_metadata("nothing"), "NOT_FOUND", "fashion")
refused(lambda: client.get_model_metadata("fashion", "x"), "NOT_FOUND", "integer")

# Numbers: a batch of pictures as tensors; what comes back says which package answered.
pictures = np.random.default_rng(7).normal(size=(8, 1, 28, 28)).astype(np.float32)
image = triton.InferInput("image", pictures.shape, "FP32")
image.set_data_from_numpy(pictures)
result = client.infer("fashion", [image], request_id="seven", client_timeout=20)
assert result.get_response().id == "seven" and result.get_response().model_version == "1"
assert len(result.get_response().parameters["maas_digest"].string_param) == 64
probabilities = result.as_numpy("probabilities")
assert probabilities.shape == (8, 10) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
for packing in ["gzip", "deflate"]:
    packed = client.infer("fashion", [image], compression_algorithm=packing)
    assert np.array_equal(packed.as_numpy("probabilities"), probabilities)

# The best classes with their labels, of a picture that is a file.
boot = triton.InferInput("image", [1, 1], "BYTES")
file = (MODELS / "fashion/1/golden/boot.png").read_bytes()
boot.set_data_from_numpy(np.array([[file]], dtype=object))
best = triton.InferRequestedOutput("probabilities", class_count=3)
classes = client.infer("fashion", [boot], outputs=[best]).as_numpy("probabilities")
assert classes.shape == (1, 3) and b"Ankle boot" in classes[0][0]

# A recording, and texts with the model's parameters and those of the schedule.
sound = triton.InferInput("waveform", [1], "BYTES")
file = (MODELS / "digits/1/golden/code.wav").read_bytes()
sound.set_data_from_numpy(np.array([file], dtype=object))
assert client.infer("digits", [sound]).as_numpy("text")[0][0] == b"three eight one five"
texts = triton.InferInput("text_input", [2, 1], "BYTES")
texts.set_data_from_numpy(np.array([["In the "], ["And "]], dtype=object))
result = client.infer(
    "kjv", [texts], priority=1, timeout=5_000_000, parameters={"max_tokens": 12, "seed": 7}
)
assert result.as_numpy("completion_tokens").tolist() == [[12], [12]]

# Several at once.
done = queue.Queue()
for _ in range(8):
    client.async_infer("fashion", [image], lambda result, error: done.put((result, error)))
for _ in range(8):
    result, error = done.get(timeout=20)
    assert error is None and np.array_equal(result.as_numpy("probabilities"), probabilities)

# On one stream: answers in the order of the requests, and failures that name theirs.
client.start_stream(lambda result, error: done.put((result, error)))
for number in range(4):
    client.async_stream_infer("fashion", [image], request_id=str(number))
client.async_stream_infer("nothing", [image], request_id="bad")
for number in range(4):
    result, error = done.get(timeout=20)
    assert error is None and result.get_response().id == str(number), error
result, error = done.get(timeout=20)
assert "fashion" in str(error), error

# A text that comes piece by piece; the last response has the counts.
text = triton.InferInput("text_input", [1, 1], "BYTES")
text.set_data_from_numpy(np.array([["In the beginning "]], dtype=object))
pieces = {"max_tokens": 20, "seed": 7, "stream": True}
client.async_stream_infer(
    "kjv", [text], request_id="verse", parameters=pieces, enable_empty_final_response=True
)
responses = []
while not (responses and responses[-1].parameters["triton_final_response"].bool_param):
    result, error = done.get(timeout=20)
    assert error is None, error
    responses.append(result.get_response())
    assert responses[-1].id == "verse"
assert len(responses) > 10 and not responses[-1].outputs
assert {output.name for output in responses[-2].outputs} >= {"text_output", "finish_reason"}
client.stop_stream()
whole = client.infer("kjv", [text], parameters={"max_tokens": 20, "seed": 7})
streamed = b"".join(r.raw_output_contents[0][4:] for r in responses[:-1])
assert streamed == whole.as_numpy("text_output")[0][0], (streamed, whole.as_numpy("text_output"))

# What is not usable is refused, and says why.
wrong = triton.InferInput("image", [1, 28, 28], "FP32")
wrong.set_data_from_numpy(pictures[0])
refused(lambda: client.infer("fashion", [wrong]), "INVALID_ARGUMENT", "[batch, 1, 28, 28]")
refused(lambda: client.infer("fashion", [image], parameters={"a": 1}), "INVALID_ARGUMENT", "top_k")
refused(lambda: client.infer("kjv", [text], parameters={"stream": True}), "UNIMPLEMENTED", "Stream")
refused(
    lambda: client.infer("kjv", [text], parameters={"max_tokens": 4096}, client_timeout=0.001),
    "DEADLINE_EXCEEDED",
)

# What each model has done.
stats = client.get_inference_statistics("fashion").model_stats[0]
assert stats.inference_count >= 64 and stats.inference_stats.success.count >= 10

# The repository: names only, and only for an administrator.
index = client.get_model_repository_index(headers=ADMIN).models
assert any(model.name == "kjv" and model.state == "READY" for model in index)
refused(lambda: client.get_model_repository_index(), "UNAUTHENTICATED", "key")
client.unload_model("kjv", headers=ADMIN)
assert not client.is_model_ready("kjv")
refused(lambda: client.infer("kjv", [texts]), "UNAVAILABLE", "unloaded")
client.load_model("kjv", headers=ADMIN)
assert client.is_model_ready("kjv")
refused(lambda: client.load_model("kjv", headers=ADMIN, config="{}"), "UNIMPLEMENTED", "content")

# The log.
settings = client.update_log_settings({"log_verbose_level": 1}, headers=ADMIN).settings
assert settings["log_verbose_level"].uint32_param == 1
client.update_log_settings({"log_verbose_level": 0}, headers=ADMIN)
assert client.get_log_settings(headers=ADMIN).settings["log_info"].bool_param

# What this server does not have says so.
refused(lambda: client.get_trace_settings(), "UNIMPLEMENTED")
refused(lambda: client.get_system_shared_memory_status(), "UNIMPLEMENTED")

print("tritonclient grpc: passed")
