"""The lines of `engines.py` as tables: a row per model, number of threads and batch, a column per engine, medians in
microseconds. The last columns are maas over the best of the others, and over the floor.
"""

import json
import sys

ENGINES = ["floor", "maas", "onnxruntime", "openvino", "pytorch", "faster-whisper float32", "faster-whisper int8"]


def figure(value):
    return "–" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def ratio(row, others):
    known = [row[engine] for engine in others if engine in row]
    return f"{row['maas'] / min(known):.2f}" if known else "–"


def print_table(rows):
    engines = [engine for engine in ENGINES if any(engine in row for _, row in rows)]
    others = [engine for engine in engines if engine not in ("floor", "maas")]
    print("| model | threads | batch |", " | ".join(engines), "| maas / best other | maas / floor |")
    print("| --- " * (len(engines) + 5) + "|")
    for (model, threads, batch), row in rows:
        figures = " | ".join(figure(row.get(engine)) for engine in engines)
        print(f"| {model} | {threads} | {batch} | {figures} | {ratio(row, others)} | {ratio(row, ['floor'])} |")
    print()


def main():
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    rows = sorted((tuple(line["row"]), line["median_us"]) for line in lines)
    # A clip is timed beside other programs than a network is.
    for networks in (True, False):
        if part := [row for row in rows if ("floor" in row[1]) == networks]:
            print_table(part)


if __name__ == "__main__":
    main()
