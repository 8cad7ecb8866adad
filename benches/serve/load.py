"""The load generator, behind one function: today wrk (Debian's package of that name), which cycles through bodies."""

import json
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_S = 60


class LoadError(Exception):
    """The generator could not run."""


def raw(request, body, host):
    """The bytes of one HTTP request."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def closed_loop(port, request, concurrency, seconds, scratch):
    """As many connections as `concurrency`, each with one request at a time, for some seconds.

    Returns right answers a second, percentiles in milliseconds of all answers, and how many were none or had a status above 399.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    files = []
    for index, body in enumerate(request.bodies):
        files.append(scratch / f"{index}.http")
        files[-1].write_bytes(raw(request, body, f"127.0.0.1:{port}"))
    command = ["wrk", "--threads=1", f"--connections={concurrency}", f"--duration={seconds}s", f"--timeout={TIMEOUT_S}s"]
    command += [f"--script={SCRIPT}", f"http://127.0.0.1:{port}", "--", *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise LoadError(done.stdout.strip()[-500:])
    return json.loads(lines[-1])
