"""The servers that are compared: how each is started, asked whether it is ready, and stopped."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
START_S, STOP_S = 120, 10
# At most so long does maas measure its models in idle time.
LEARN_S_MAX = 180
BATCH_MAX, INSTANCES = 32, 2


class EngineError(Exception):
    """An engine that cannot be had, or that does not start; in a few words."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Maas:
    ready = "/readyz"

    def __init__(self, program, store, target):
        self.program, self.store, self.target = program, store, target

    def command(self, port, _subject):
        if not Path(self.program).exists():
            raise EngineError("not built")
        self.admin = free_port()
        command = [self.program, "serve", "--http", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{self.admin}"]
        command += ["--grpc=127.0.0.1:0", "--store", self.store, "--state", self.target / "state", "--drain-grace-ms=0", "--log-filter=warn"]
        return command, {}


    def learn(self):
        """What it measures of its models when idle it keeps in its state: nobody times it before it did."""
        with running(self, "maas-learns", None, self.target / "logs") as (_, pid):
            until, before = time.monotonic() + LEARN_S_MAX, 0.0
            while time.monotonic() < until and processor_s(pid) - before > 0.1:
                before = processor_s(pid)
                time.sleep(2)


class FastApi:
    ready = "/v2/health/ready"

    def __init__(self, target, workers):
        self.target, self.workers = target, workers

    def command(self, port, subject):
        uvicorn = self.target / "fastapi" / "bin" / "uvicorn"
        if not uvicorn.exists():
            raise EngineError("not installed")
        command = [uvicorn, "fastapi_ort:app", f"--app-dir={PEERS}", f"--port={port}", f"--workers={self.workers}"]
        command += ["--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
        return command, {"SUBJECT": str(subject["file"]), "THREADS": str(INSTANCES // self.workers)}


class Triton:
    """Triton's own server, with the Python backend: the wheel of nvidia-pytriton holds no other."""

    ready = "/v2/health/ready"

    def __init__(self, target):
        self.target, self.venv = target, target / "triton"

    def command(self, port, subject):
        packages = next(self.venv.glob("lib/python3*/site-packages"), None)
        if not packages or not (packages / "pytriton/tritonserver/bin/tritonserver").exists():
            raise EngineError("not installed")
        server = packages / "pytriton" / "tritonserver"
        backends, models = self.target / "triton-backends", self.target / "triton-models"
        self.backend(server, packages.parent.name.removeprefix("python"), backends / "python")
        self.model(models, subject)
        command = [server / "bin" / "tritonserver", f"--model-repository={models}", f"--backend-directory={backends}"]
        command += ["--http-address=127.0.0.1", f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false"]
        environment = {
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
        }
        return command, environment

    @staticmethod
    def backend(server, version, place):
        """The backend beside its stub for this version of Python."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(server / "backends" / "python", place)
        stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not stub.exists():
            raise EngineError(f"no stub for Python {version}")
        shutil.copy(stub, place)

    @staticmethod
    def model(models, subject):
        shutil.rmtree(models, ignore_errors=True)
        place = models / subject["name"]
        (place / "1").mkdir(parents=True)
        shutil.copy(PEERS / "triton_model.py", place / "1" / "model.py")
        shutil.copy(PEERS / "networks.py", place / "1")

        def tensor(side):
            said, kind = subject[side], {"FP32": "TYPE_FP32", "BYTES": "TYPE_STRING"}[subject[side]["datatype"]]
            return f'{side} [{{ name: "{said["name"]}" data_type: {kind} dims: {said["shape"]} }}]\n'

        (place / "config.pbtxt").write_text(
            f'name: "{subject["name"]}"\nbackend: "python"\nmax_batch_size: {BATCH_MAX}\n'
            + tensor("input")
            + tensor("output")
            + f"instance_group [{{ count: {INSTANCES} kind: KIND_CPU }}]\ndynamic_batching {{ }}\n"
            + f'parameters {{ key: "subject" value: {{ string_value: "{subject["file"]}" }} }}\n'
        )


def engines(program, store, target):
    return {
        "maas": Maas(program, store, target),
        "triton": Triton(target),
        "fastapi-1": FastApi(target, 1),
        "fastapi-2": FastApi(target, 2),
    }


def processor_s(pid):
    """Seconds of a core that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def ask(port, method, path, body=None, headers=None, timeout=60):
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@contextmanager
def running(engine, name, subject, logs, own_session=True):
    """The engine's port, from when it is ready; nothing of it is left afterwards."""
    port = free_port()
    command, environment = engine.command(port, subject)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    # Either way a group of its own, for `stop`.
    group = {"start_new_session": True} if own_session else {"process_group": 0}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, **group)
    try:
        wait(process, port, engine.ready, log)
        yield port, process.pid
    finally:
        stop(process)


def wait(process, port, path, log):
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise EngineError(f"did not start: see {log}")
        try:
            if ask(port, "GET", path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise EngineError(f"not ready after {START_S} s: see {log}")


def stop(process):
    """First the server itself, then whatever else is in its group."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        print(f"{process.args[0]} did not stop when told to", file=sys.stderr)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
