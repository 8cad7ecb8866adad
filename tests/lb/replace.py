#!/usr/bin/env python3
"""Two replicas of maas behind HAProxy, under load, while each is stopped in turn.

    tests/lb/replace.py [target/release/maas [models]]

SIGTERM to the first: not one request may fail. `kill -9` to the second: failures are counted and told, because a request
that a dead process had taken may be lost; the ones after it may not. Nothing leaves loopback. Needs haproxy and the
packages in models; takes about half a minute.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = 4
PER_SECOND = 40
READY_S = 60
GRACE_MS = 3000


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def golden(store):
    """The path and body of a picture that one of the packages answers: its first golden sample."""
    for listing in sorted(store.glob("*/*/golden/samples.json")):
        sample = json.loads(listing.read_text())[0]
        if sample["media"] == "image":
            place = listing.parents[1]
            return f"/v1/predict/{place.parent.name}", (place / sample["input"]).read_bytes()
    sys.exit(f"replace: no package in {store} has a picture among its golden samples")


def until(what, true):
    """Waits for `true()`; fails the test when it takes too long."""
    end = time.monotonic() + READY_S
    while not true():
        if time.monotonic() > end:
            sys.exit(f"replace: {what} did not come within {READY_S} s")
        time.sleep(0.05)


def ready(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def predictions(port):
    """How many predictions a replica has ended, by its own metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("maas_requests_total{"))


class Replica:
    def __init__(self, program, store, state):
        self.program, self.store, self.state, self.port = program, store, state, free_port()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "serve", f"--http=127.0.0.1:{self.port}", "--admin=127.0.0.1:0", "--grpc=127.0.0.1:0", f"--state={self.state}",
             f"--store={self.store}", f"--drain-grace-ms={GRACE_MS}", "--engine-workers=1", "--log-filter=warn"],
            cwd=self.state,
        )
        until(f"replica {self.port}", lambda: self.process.poll() is not None or ready(self.port))
        if self.process.poll() is not None:
            sys.exit(f"replace: a replica ended at start with {self.process.returncode}")

    def stop(self, with_signal):
        self.process.send_signal(with_signal)
        return self.process.wait(timeout=READY_S)


class Load:
    """A steady, bounded stream of predictions through the load balancer."""

    def __init__(self, port, request):
        self.port, self.request = port, request
        self.answered, self.failed = 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.clients = [threading.Thread(target=self.client) for _ in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def client(self):
        path, body = self.request
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.over.wait(CLIENTS / PER_SECOND):
            try:
                connection.request("POST", path, body, {"content-type": "application/octet-stream"})
                answer = connection.getresponse()
                text, status = answer.read(), answer.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                text, status = repr(error), 0
            with self.lock:
                self.answered += status == 200
                if status != 200:
                    self.failed.append((status, text[:200]))

    def count(self):
        with self.lock:
            return self.answered, list(self.failed)

    def stop(self):
        self.over.set()
        for client in self.clients:
            client.join()


def phase(load, what, act, allowed):
    """Runs `act` under load; `allowed` failures may happen from its start until requests flow again."""
    before, failed_before = load.count()
    begun = time.monotonic()
    act()
    enough = load.count()[0] + PER_SECOND
    until(f"load after {what}", lambda: load.count()[0] >= enough)
    answered, failed = load.count()
    failed = failed[len(failed_before):]
    print(f"replace: {what}: {answered - before} answered, {len(failed)} failed, {time.monotonic() - begun:.1f} s", flush=True)
    if allowed is not None and len(failed) > allowed:
        sys.exit(f"replace: {what}: at most {allowed} may fail: {failed[:5]}")


def main(program, store):
    with tempfile.TemporaryDirectory() as scratch:
        states = [pathlib.Path(scratch, name) for name in ("one", "two")]
        for state in states:
            state.mkdir()
        one, two = (Replica(program, store, state) for state in states)
        listen = free_port()
        addresses = {"MAAS_LISTEN": f"127.0.0.1:{listen}", "MAAS_ONE": f"127.0.0.1:{one.port}", "MAAS_TWO": f"127.0.0.1:{two.port}"}
        started = []
        load = None
        try:
            for replica in (one, two):
                replica.start()
            balancer = subprocess.Popen(
                ["haproxy", "-q", "-db", "-f", ROOT / "deploy/haproxy.cfg"],
                env={**os.environ, **addresses}, stdout=subprocess.DEVNULL,
            )
            started.append(balancer)
            until("HAProxy", lambda: balancer.poll() is not None or ready(listen))
            load = Load(listen, golden(store))
            phase(load, "both serve", lambda: None, 0)
            phase(load, "SIGTERM to one", lambda: stopped_well(one), 0)
            phase(load, "one is back", lambda: back(one), 0)
            phase(load, "kill -9 of the other", lambda: two.stop(signal.SIGKILL), None)
            phase(load, "after the kill", lambda: None, 0)
        finally:
            if load:
                load.stop()
            for process in [*started, *(replica.process for replica in (one, two))]:
                if process and process.poll() is None:
                    process.kill()
                    process.wait()


def back(replica):
    replica.start()
    until("traffic to the replica that is back", lambda: predictions(replica.port) > 0)


def stopped_well(replica):
    code = replica.stop(signal.SIGTERM)
    if code != 0:
        sys.exit(f"replace: SIGTERM ended a replica with {code}, not 0")


if __name__ == "__main__":
    defaults = [ROOT / "target/release/maas", ROOT / "models"]
    typed = [pathlib.Path(argument) for argument in sys.argv[1:]]
    main(*(path.resolve() for path in [*typed, *defaults[len(typed):]]))
