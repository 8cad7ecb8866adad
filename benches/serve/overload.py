"""How maas bears too much: prints a table of what was measured beside what is wanted. overload.sh says how to run it."""

import argparse
import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import uvloop
from bodies import ROWS, Request, maas, plain, questions
from client import Client
from engines import Maas, ask, running
from load import closed_loop, raw
from subjects import describe

OVER, HALF = 3, 0.5
# How far the generator of that load gives way. Linux heeds it within a session alone (man 7 sched, autogroup).
YIELDS = 10
LENET_PER_S = 100
CROWDS, GONE, GONE_AT_ONCE, BUSY = 8, 1000, 50, 64
# How long a client that has sent all waits before it leaves: its row waits in the queue by then.
LINGER_S = 0.02
SETTLE_S, REST_S = 2, 15
GROWTH_BYTES, GROWTH_PART = 16 << 20, 0.02
MODELS = ("lenet-json", "efficientnet-json", "gru-256", "minilm-22", "whisper")


class Server:
    """What runs: its port, its process and its counters."""

    def __init__(self, port, pid, admin):
        self.port, self.pid, self.admin = port, pid, admin

    def memory(self):
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rows(self, model):
        """Rows of a model that were ever run."""
        _, _, text = ask(self.admin, "GET", "/metrics")
        found = re.findall(rf'^maas_rows_total{{[^}}]*model="{model}"[^}}]*}} (\d+)', text.decode(), re.MULTILINE)
        return sum(map(int, found))

    def settled(self, model):
        """Those rows, once nothing runs that was asked before."""
        rows = self.rows(model)
        time.sleep(SETTLE_S)
        return rows if self.rows(model) == rows else self.settled(model)

    def messages(self, request):
        return [raw(request, body, f"127.0.0.1:{self.port}") for body in request.bodies]


class Table:
    """Lines as they are measured."""

    def __init__(self):
        print("| measured | value | wanted |\n| --- | --- | --- |")

    @staticmethod
    def line(what, value, wanted="", holds=None):
        verdict = "" if holds is None else " (holds)" if holds else " (**does not hold**)"
        print(f"| {what} | {value} | {wanted}{verdict} |", flush=True)


def photographs(package):
    """A JPEG file of the package's golden picture, and some that are turned and mirrored."""
    from PIL import Image

    with Image.open(next((package / "golden").glob("*.png"))) as picture:
        picture = picture.convert("RGB")
    files = []
    for turn in (None, *list(Image.Transpose)[:4]):
        file = io.BytesIO()
        (picture if turn is None else picture.transpose(turn)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


class Overload:
    def __init__(self, said, server, table):
        self.said, self.server, self.table = said, server, table
        self.known = {row.name: row for row in ROWS}

    def request(self, name):
        """What is sent for a row: of EfficientNet photographs, all else as it is measured."""
        row = self.known[name]
        subject = describe(row, self.said.store)
        if row.package.startswith("efficientnet"):
            return Request(f"/v1/predict/{row.package}", photographs(Path(subject["package"])), {"Content-Type": "image/jpeg"})
        asked = questions(row, Path(subject["package"]), subject)
        return maas(row, subject, asked) if row.kind == "speech" else plain(row, subject, asked)

    def capacity(self, request, seconds, at_once=64):
        """Right answers a second of a closed loop; the first moments do not count."""
        scratch = self.said.target / "overload"
        closed_loop(self.server.port, request, at_once, 3, scratch)
        found = closed_loop(self.server.port, request, at_once, seconds, scratch)
        if not found["per_s"]:
            sys.exit(f"{request.path}: no answer within {seconds} s: expected a machine that has nothing else to do")
        return found["per_s"]

    def overload(self):
        """An open loop at three times the capacity, with photographs."""
        request, line = self.request("efficientnet-json"), self.table.line
        self.bench(request, 3, concurrency=64)
        most = self.bench(request, 10, concurrency=64)["goodput_per_s"]
        line("EfficientNet-Lite0, JPEG, capacity", f"{most:.0f} requests/s")
        half = self.bench(request, self.said.seconds / 3, rate=most * HALF)["latency_ms"]["p99"]
        line("p99 at half of it", f"{half:.0f} ms")
        over = self.bench(request, self.said.seconds, rate=most * OVER, probe="/livez")
        share = over["goodput_per_s"] / most
        line(f"goodput at {OVER} times", f"{over['goodput_per_s']:.0f} requests/s, {share:.0%}", "≥ 95 %", share >= 0.95)
        came = over["status"] | {name: over[name] for name in ("connection_errors", "unanswered", "unsent")}
        came = {name: count for name, count in came.items() if count}
        fine = set(came) <= {"200", "429", "503"}
        line("statuses", ", ".join(f"{name}: {count}" for name, count in came.items()), "200, 429, 503", fine)
        late, bound = over["latency_ms"]["p99"], 3 * half
        line("p99 of what was accepted", f"{late:.0f} ms", f"≤ {bound:.0f} ms", late <= bound)
        line(*retry_after(over))
        health = over["probe"]["latency_ms"]["p99"]
        line("health p99", f"{health:.1f} ms", "≤ 50 ms", health <= 50)
        busy = over["generator_cores"]
        line("generator", f"{busy:.0%} of a core", "≤ 10 %", busy <= 0.1)

    def bench(self, request, seconds, **load):
        """What `maas bench` counts of one level of load. At a rate it stands for clients elsewhere, so it gives way to
        the server; a request that is sent late for that counts from when it was due."""
        scratch = self.said.target / "overload"
        scratch.mkdir(parents=True, exist_ok=True)
        command = ["nice", "-n", str(YIELDS)] if "rate" in load else []
        command += [self.said.program, "bench", f"http://127.0.0.1:{self.server.port}", "--json"]
        command += ["--path", request.path, "--content-type", request.headers["Content-Type"], f"--duration={seconds:.0f}s", "--warm-up=0s"]
        command += [f"--{name}={value}" for name, value in load.items()]
        for index, body in enumerate(request.bodies):
            file = scratch / f"{index}.body"
            file.write_bytes(body)
            command += ["--body", file]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"maas bench: exit status {done.returncode}; it said above why")
        return json.loads(done.stdout)

    def neighbour(self):
        """LeNet at a steady rate, alone and beside Whisper at full load."""
        lenet, whisper = (self.server.messages(self.request(name)) for name in ("lenet-json", "whisper"))

        async def run(seconds, loud):
            quiet, noisy = Client(self.server.port), Client(self.server.port)
            loops = [quiet.open_loop(lenet, LENET_PER_S, seconds)]
            loops += [noisy.closed_loop(whisper, 8, seconds)] if loud else []
            tallies = await asyncio.gather(*loops)
            quiet.close()
            noisy.close()
            return tallies

        alone = uvloop.run(run(self.said.seconds / 3, False))[0]
        self.table.line(f"LeNet, {LENET_PER_S} requests/s, p99 alone", f"{alone.percentile(99):.1f} ms")
        tally, noise = uvloop.run(run(self.said.seconds / 2, True))
        late, lost = tally.percentile(99), sum(tally.statuses.values()) - tally.statuses["200"]
        value, fine = f"{late:.1f} ms, {lost} not answered", late <= 20 and not lost
        self.table.line("p99 beside Whisper, 8 at once", value, "≤ 20 ms", fine)
        self.table.line("Whisper meanwhile", f"{noise.goodput():.2f} requests/s, {dict(noise.statuses)}")

    def disconnect(self):
        """Clients that leave in the middle of their body, and some that leave while their row waits behind others."""
        request = self.request("efficientnet-json")
        model, messages = self.known["efficientnet-json"].package, self.server.messages(request)
        self.capacity(request, 3)
        for name, part, linger in (("in their body", 0.5, 0.0), ("while they wait", 1, LINGER_S)):
            # After a crowd the allocator has given back what it held, or not yet, some 50 MiB: what is lost, each crowd adds.
            memory = []
            for _ in range(CROWDS):
                before = self.server.settled(model)
                answered = uvloop.run(self.leave(messages, part, linger))
                run = self.server.settled(model) - before - answered
                self.table.line(f"{GONE} clients that leave {name}: rows run", run, "0", run == 0)
                memory.append(self.server.memory())
            self.table.line("memory after each", ", ".join(f"{size >> 20}" for size in memory) + " MiB")
            self.grown(*(int(median(part)) for part in (memory[: CROWDS // 2], memory[CROWDS // 2 :])))

    async def leave(self, messages, part, linger):
        """How many rows of others were answered meanwhile."""
        client, room = Client(self.server.port), asyncio.Semaphore(GONE_AT_ONCE)
        over = asyncio.Event()

        async def one(at):
            message = messages[at % len(messages)]
            async with room:
                await client.go_away(message, int(len(message) * part), linger)

        # Without a pause: where the queue empties, a row is run before its client has left.
        crowd = asyncio.ensure_future(client.closed_loop(messages, BUSY, 60, over))
        await asyncio.sleep(1)
        await asyncio.gather(*map(one, range(GONE)))
        over.set()
        answered = (await crowd).statuses["200"]
        client.close()
        return answered

    def soak(self):
        """All models at once, each at its share of half the capacity."""
        requests = {name: self.request(name) for name in MODELS}
        rates = {}
        for name, request in requests.items():
            speech = self.known[name].kind == "speech"
            rates[name] = self.capacity(request, *((30, 2) if speech else (5, 8))) * HALF / len(MODELS)
        # What grows to its size once, it does in the first minute.
        uvloop.run(self.together(requests, rates, 60))
        memory, files = self.server.memory(), self.server.files()
        tallies = uvloop.run(self.together(requests, rates, self.said.minutes * 60, memories := []))
        for name, tally in tallies.items():
            statuses = ", ".join(f"{status}: {n}" for status, n in tally.statuses.items())
            said = f"{statuses}; p99 {tally.percentile(99):.0f} ms"
            what = f"{name}, {rates[name]:.1f} requests/s, {self.said.minutes:g} min"
            self.table.line(what, said, "200", set(tally.statuses) == {"200"})
        self.table.line("memory, a tenth of the time apart", ", ".join(f"{size >> 20}" for size in memories) + " MiB")
        self.grown(memory, self.server.memory())
        more = self.server.files() - files
        self.table.line("open files, more than before", more, "0", more <= 0)

    async def together(self, requests, rates, seconds, memories=None):
        """Asks them all for so long; the server's memory after each tenth of it goes into `memories`."""
        clients = {name: Client(self.server.port) for name in requests}
        messages = {name: self.server.messages(request) for name, request in requests.items()}
        loops = [client.open_loop(messages[name], rates[name], seconds) for name, client in clients.items()]
        watch = asyncio.create_task(self.watch(seconds / 10, memories if memories is not None else []))
        tallies = await asyncio.gather(*loops)
        watch.cancel()
        for client in clients.values():
            client.close()
        # The server has seen that they are closed, its pool's threads have ended, and free memory has been given back.
        await asyncio.sleep(REST_S)
        return dict(zip(requests, tallies))

    async def watch(self, pause, memories):
        while True:
            await asyncio.sleep(pause)
            memories.append(self.server.memory())

    def grown(self, before, after):
        allowed, more = max(GROWTH_BYTES, before * GROWTH_PART), after - before
        value = f"{before >> 20} MiB, then {more / (1 << 20):+.1f}"
        self.table.line("memory", value, f"< {allowed / (1 << 20):+.0f} MiB", more < allowed)


def retry_after(over):
    """Whether the header says how long the queue takes to empty, which is what accepted requests wait; in whole seconds."""
    wait, said = over["latency_ms"]["p50"] / 1e3, over["retry_after_s"]
    refused = over["status"]["429"] + over["status"]["503"]
    right = not refused or (said["seen"] == refused and wait / 2 <= said["min"] and said["max"] <= max(1, 2 * wait))
    value = f"{said['min']} to {said['max']} s, {said['seen']} of {refused}; accepted wait {wait:.2f} s"
    return "Retry-After", value, "within a factor of 2, or 1", right


def arguments():
    said = argparse.ArgumentParser(prog="overload.sh", description=__doc__)
    said.add_argument("program", type=Path, help=argparse.SUPPRESS)
    said.add_argument("target", type=Path, help=argparse.SUPPRESS)
    said.add_argument("store", type=Path, help="directory of the packages")
    said.add_argument("what", nargs="*", help="overload, neighbour, disconnect or soak; none means all")
    said.add_argument("--seconds", type=int, default=60, help="of the open loop above capacity")
    said.add_argument("--minutes", type=float, default=30, help="of the soak")
    said.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")], default=[0, 1])
    return said.parse_args()


def main():
    # As an exception: the server is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    said = arguments()
    os.sched_setaffinity(0, said.cores)
    known = ("overload", "neighbour", "disconnect", "soak")
    if unknown := set(said.what) - set(known):
        sys.exit(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    engine, table = Maas(said.program, said.store, said.target), Table()
    engine.learn()
    for what in said.what or known:
        # A server of its own: what one leaves behind is not the next one's.
        with running(engine, f"maas-{what}", None, said.target / "logs", own_session=False) as (port, pid):
            getattr(Overload(said, Server(port, pid, engine.admin), table), what)()


if __name__ == "__main__":
    main()
