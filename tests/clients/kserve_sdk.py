"""KServe's own client, unchanged, over HTTP and gRPC: pip install kserve.

Needs a server on the shipped models; MAAS_HTTP and MAAS_GRPC are its addresses.
"""

import asyncio
import os

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient

URL = "http://" + os.environ.get("MAAS_HTTP", "127.0.0.1:8080")
GRPC = os.environ.get("MAAS_GRPC", "127.0.0.1:9000")

pictures = np.random.default_rng(7).normal(size=(3, 1, 28, 28)).astype(np.float32)


def of_pictures(binary):
    image = InferInput("image", list(pictures.shape), "FP32")
    image.set_data_from_numpy(pictures, binary_data=binary)
    return InferRequest("fashion", [image], request_id="seven")


async def rest():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(URL) and await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "fashion")
    answers = []
    for binary in [True, False]:
        answer = await client.infer(URL, of_pictures(binary), model_name="fashion")
        assert answer.id == "seven"
        assert answer.parameters["maas_digest"]
        answers.append(answer.outputs[0].as_numpy())
    assert answers[0].shape == (3, 10) and np.array_equal(*answers)
    text = InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array(["In the beginning"], dtype=object), binary_data=False)
    request = InferRequest("kjv", [text], parameters={"max_tokens": 10, "seed": 7})
    answer = await client.infer(URL, request, model_name="kjv")
    assert len(answer.outputs[0].data[0]) >= 10, answer
    await client.close()
    return answers[0]


async def grpc(expected):
    client = InferenceGRPCClient(GRPC)
    assert await client.is_server_live() and await client.is_server_ready()
    assert await client.is_model_ready("fashion")
    for binary in [True, False]:
        answer = await client.infer(of_pictures(binary))
        assert answer.id == "seven"
        assert np.array_equal(answer.outputs[0].as_numpy(), expected)
    await client.close()


async def all_of_it():
    await grpc(await rest())


asyncio.run(all_of_it())
print("kserve: passed")
