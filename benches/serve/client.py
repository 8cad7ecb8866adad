"""A small HTTP/1.1 client for load that wrk cannot make: open loops, and clients that go away.

Arrivals are Poisson's and do not wait for answers; a latency counts from the moment when its request was due, so that a server
which stalls cannot hide it.
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

CONNECTIONS_MAX = 900


@dataclass
class Tally:
    """What came back: latencies in milliseconds of the answers with status 200, how often each status came, and so on."""

    latencies: list = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    # Answers with status 200 until the last request was due.
    good: int = 0

    def percentile(self, percent):
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")

    def goodput(self):
        return self.good / self.seconds


class Connection(asyncio.Protocol):
    """One request at a time; what the body says is not kept."""

    def __init__(self):
        self.transport, self.waiter, self.got, self.left = None, None, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _error):
        if self.waiter and not self.waiter.done():
            self.waiter.set_exception(ConnectionError())

    def data_received(self, data):
        if self.left is None:
            self.got += data
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.got[:end].lower().split(b"\r\n")
            self.left, data, self.got = int(self.said(b"content-length") or 0), self.got[end + 4 :], b""
        self.left -= len(data)
        if self.left <= 0 and self.waiter and not self.waiter.done():
            self.waiter.set_result(self.head[0].split()[1].decode())

    def said(self, name):
        values = [line.split(b":", 1)[1].strip() for line in self.head if line.startswith(name + b":")]
        return values[0].decode() if values else ""

    def ask(self, message):
        self.left, self.waiter = None, asyncio.get_running_loop().create_future()
        self.transport.write(message)
        return self.waiter

    def usable(self):
        return not self.transport.is_closing() and b"connection: close" not in getattr(self, "head", [])


class Client:
    """Connections to one server, opened as they are needed."""

    def __init__(self, port):
        self.port, self.idle = port, []
        self.room = asyncio.Semaphore(CONNECTIONS_MAX)

    async def connection(self):
        while self.idle:
            found = self.idle.pop()
            if found.usable():
                return found
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, "127.0.0.1", self.port))[1]

    async def ask(self, message, tally, due):
        """One request and its answer, or `lost`."""
        async with self.room:
            try:
                connection = await self.connection()
                status = await connection.ask(message)
            except OSError:
                tally.statuses["lost"] += 1
                return
            if connection.usable():
                self.idle.append(connection)
            else:
                connection.transport.close()
        tally.statuses[status] += 1
        if status == "200":
            tally.latencies.append((time.perf_counter() - due) * 1e3)

    async def open_loop(self, messages, rate, seconds):
        """Requests that are due at random moments, `rate` a second on average."""
        chance, tally, pending = random.Random(1), Tally(), set()
        began = due = time.perf_counter()
        for turn in range(max(1, round(rate * seconds))):
            due += chance.expovariate(rate)
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            task = asyncio.ensure_future(self.ask(messages[turn % len(messages)], tally, due))
            pending.add(task)
            task.add_done_callback(pending.discard)
        tally.seconds, tally.good = time.perf_counter() - began, tally.statuses["200"]
        await asyncio.gather(*pending)
        return tally

    async def closed_loop(self, messages, concurrency, seconds, over=None):
        """As many requests at once as `concurrency`, the next when one is answered, until the event `over` at the latest."""
        tally, began = Tally(), time.perf_counter()

        async def one(at):
            while time.perf_counter() - began < seconds and not (over and over.is_set()):
                await self.ask(messages[at % len(messages)], tally, time.perf_counter())

        await asyncio.gather(*map(one, range(concurrency)))
        tally.seconds, tally.good = time.perf_counter() - began, tally.statuses["200"]
        return tally

    async def go_away(self, message, sent, linger):
        """Sends the first `sent` bytes of a request and closes so many seconds later, without the answer."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(message[:sent])
        await writer.drain()
        await asyncio.sleep(linger)
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass

    def close(self):
        for connection in self.idle:
            connection.transport.close()
