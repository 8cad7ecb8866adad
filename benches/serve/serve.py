"""Measures maas beside other servers, row by row, and prints one JSON line a figure: run.sh says how."""

import argparse
import json
import math
import os
import signal
import sys
from pathlib import Path

from bodies import ROWS, answer, apart, maas, oip, plain
from engines import EngineError, ask, engines, running
from load import LoadError, closed_loop
from subjects import prepare

# What is in flight at the end of a measurement is not counted: it lasts so many answers' time, up to a bound.
ANSWERS_MIN, SECONDS_MAX = 40, 120
# 64 clips at once would wait for minutes.
SPEECH_AT_ONCE_MAX = 8


class Bench:
    def __init__(self, said):
        self.said, self.target = said, said.target
        self.engines = engines(said.program, said.store, said.target)

    def row(self, row):
        """Every engine in turn, as often as there are rounds."""
        scratch = self.target / "rows" / row.name
        subject, asked = prepare(row, self.said.store, self.said.whisper, scratch)
        expected = None if row.form == "health" else self.reference(row, subject, asked)
        for _ in range(self.said.rounds):
            for name in self.said.engines:
                try:
                    yield from self.engine(row, name, subject, asked, expected)
                except (EngineError, LoadError) as error:
                    print(f"{row.name}, {name}: {error}", file=sys.stderr)
                    short = str(error).split(":")[0]
                    for concurrency in self.concurrencies(row):
                        yield {"row": row.name, "engine": name, "concurrency": concurrency, "missing": short}

    def concurrencies(self, row):
        most = SPEECH_AT_ONCE_MAX if row.kind == "speech" else max(self.said.concurrency)
        return [concurrency for concurrency in self.said.concurrency if concurrency <= most]

    def reference(self, row, subject, asked):
        """What maas answers to each question, asked the plain way."""
        request = maas(row, subject, asked) if row.kind == "speech" else plain(row, subject, asked)
        with running(self.engines["maas"], "maas", subject, self.target / "logs") as (port, _):
            return self.answers(port, request, row.kind)

    @staticmethod
    def answers(port, request, kind):
        found = []
        for body in request.bodies:
            status, headers, came = ask(port, request.method, request.path, body, request.headers)
            if status != 200:
                raise EngineError(f"status {status}: {came[:200]!r}")
            found.append(answer(request, kind, headers, came))
        return found

    def engine(self, row, name, subject, asked, expected):
        """Starts it, checks its answers, loads it, and stops it."""
        if row.kind == "speech" and name != "maas" and not (self.said.whisper / "model.bin").exists():
            raise EngineError(f"no weights: expected {self.said.whisper}/model.bin")
        with running(self.engines[name], name, subject, self.target / "logs") as (port, _):
            request = (maas if name == "maas" else oip)(row, subject, asked)
            self.check(row, port, request, expected)
            for concurrency in self.concurrencies(row):
                figures = self.load(port, request, concurrency, self.target / "rows" / row.name / "http")
                yield {"row": row.name, "engine": name, "concurrency": concurrency} | figures

    def load(self, port, request, concurrency, scratch):
        """Warms up until something is answered, then measures for as long as answers of that pace need."""
        warm_up, first = self.said.warm_up, {"p50_ms": 0}
        while not first["p50_ms"]:
            if warm_up > SECONDS_MAX:
                raise EngineError("no answers")
            first = closed_loop(port, request, concurrency, warm_up, scratch)
            warm_up *= 2
        needed = math.ceil(first["p50_ms"] * ANSWERS_MIN / 1e3)
        return closed_loop(port, request, concurrency, min(max(self.said.seconds, needed), SECONDS_MAX), scratch)

    def check(self, row, port, request, expected):
        """Whether the answers are right."""
        if row.form == "health":
            return
        got = self.answers(port, request, row.kind)
        if faults := [fault for pair in zip(expected, got) if (fault := apart(row.kind, *pair))]:
            raise EngineError(f"wrong answers: {faults[0]}")


def arguments():
    numbers = lambda text: [int(number) for number in text.split(",")]
    said = argparse.ArgumentParser(prog="run.sh", description="rows: " + ", ".join(row.name for row in ROWS))
    said.add_argument("program", type=Path, help=argparse.SUPPRESS)
    said.add_argument("target", type=Path, help=argparse.SUPPRESS)
    said.add_argument("store", type=Path, help="directory of the packages")
    said.add_argument("rows", nargs="*", help="rows of the table; none means all")
    said.add_argument("--engines", type=lambda text: text.split(","), default=["maas", "triton", "fastapi-1", "fastapi-2"])
    said.add_argument("--concurrency", type=numbers, default=[1, 8, 64])
    said.add_argument("--seconds", type=int, default=10, help="of each measurement")
    said.add_argument("--warm-up", type=int, default=3, help="seconds before it")
    said.add_argument("--rounds", type=int, default=1, help="of all engines; the table has their medians")
    said.add_argument("--cores", type=numbers, default=[0, 1], help="that engines and generator share")
    said.add_argument("--whisper", type=Path, required=True, help="directory of tiny.en for faster-whisper")
    return said.parse_args()


def main():
    # As an exception: the engine that runs is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    said = arguments()
    os.sched_setaffinity(0, said.cores)
    known = {row.name: row for row in ROWS}
    unknown = [name for name in said.rows if name not in known]
    if unknown:
        sys.exit(f"no row is called {', '.join(unknown)}: expected some of {', '.join(known)}")
    bench = Bench(said)
    bench.engines["maas"].learn()
    for row in [known[name] for name in said.rows] or ROWS:
        try:
            for line in bench.row(row):
                print(json.dumps(line), flush=True)
        except EngineError as error:
            print(f"{row.name}: maas, whose answers all others are held to: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
