"""The Open Inference Protocol v2 as one writes it with FastAPI: bodies in JSON or with the binary tensor extension.

    SUBJECT=subject.json THREADS=1 uvicorn fastapi_ort:app --workers 2

Answers have the form of their question. A network that answers within a millisecond runs on the event loop, any other on
the thread pool, where ONNX Runtime leaves Python's lock alone; with as many threads as THREADS says, for more of them would
only take turns.
"""

import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import orjson
from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from networks import open_network

HEADER = "inference-header-content-length"
AT_ONCE_S = 1e-3

subject = json.loads(Path(os.environ["SUBJECT"]).read_text(encoding="utf-8"))
NUMBERS = subject["input"]["datatype"] == "FP32"


class Served:
    """The network, and whether it is quick enough for the event loop."""

    def __init__(self):
        self.network = open_network(subject)
        example = self.read(Path(subject["example"]["body"]).read_bytes(), subject["example"]["head"])
        times = []
        for _ in range(5):
            start = time.perf_counter()
            self.network.run(example)
            times.append(time.perf_counter() - start)
        self.quick = min(times) < AT_ONCE_S

    def read(self, body, head):
        """A batch of one question's rows. `head` is the length of the JSON of a binary one."""
        said = orjson.loads(body[:head] if head else body)["inputs"][0]
        if not head:
            data = said["data"]
            return np.array(data, np.float32).reshape(said["shape"]) if NUMBERS else [text.encode() for text in data]
        if NUMBERS:
            return np.frombuffer(body, np.float32, offset=head).reshape(said["shape"])
        rows, at = [], head
        while at < len(body):
            size = int.from_bytes(body[at : at + 4], "little")
            rows.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        return rows

    def write(self, answer, binary):
        described = {"name": subject["output"]["name"], "datatype": subject["output"]["datatype"]}
        described["shape"] = list(answer.shape) if answer.ndim > 1 else [len(answer), 1]
        head = {"model_name": subject["name"], "outputs": [described]}
        if not binary:
            data = answer.ravel() if answer.dtype == np.float32 else [text.decode() for text in answer]
            described["data"] = data
            return Response(orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
        if answer.dtype == np.float32:
            data = answer.tobytes()
        else:
            data = b"".join(len(text).to_bytes(4, "little") + text for text in answer)
        described["parameters"] = {"binary_data_size": len(data)}
        text = orjson.dumps(head)
        return Response(text + data, media_type="application/octet-stream", headers={HEADER: str(len(text))})


@asynccontextmanager
async def lifespan(app):
    to_thread.current_default_thread_limiter().total_tokens = int(os.environ["THREADS"])
    app.state.served = Served()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/v2/health/live")
@app.get("/v2/health/ready")
async def ready():
    return Response()


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request):
    served, head = request.app.state.served, int(request.headers.get(HEADER, 0))
    body = await request.body()
    if served.quick:
        return served.write(served.network.run(served.read(body, head)), head > 0)
    answer = await run_in_threadpool(lambda: served.network.run(served.read(body, head)))
    return served.write(answer, head > 0)
