"""The lines of `serve.py` as one table: a row per measurement and concurrency, a column per engine.

A cell is requests a second, p50 and p99 in milliseconds, each the median over the rounds. The last column is what maas does
over what the peer with most requests a second does.
"""

import json
import statistics
import sys

FIGURES = ("per_s", "p50_ms", "p99_ms")


def rows(lines):
    """By row and concurrency, by engine, the lists of figures or a word why there is none."""
    table, engines = {}, []
    for line in lines:
        said = json.loads(line)
        if said["engine"] not in engines:
            engines.append(said["engine"])
        row = table.setdefault((said["row"], said["concurrency"]), {})
        if "missing" in said:
            row.setdefault(said["engine"], said["missing"])
        elif not isinstance(row.get(said["engine"]), list):
            row[said["engine"]] = [said]
        else:
            row[said["engine"]].append(said)
    return table, sorted(engines, key=lambda engine: engine != "maas")


def medians(found):
    return {name: statistics.median(line[name] for line in found) for name in FIGURES}


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(found):
    if not isinstance(found, list):
        return found or "–"
    text = " · ".join(number(value) for value in medians(found).values())
    errors = sum(line["errors"] for line in found)
    return f"{text} ({errors} errors)" if errors else text


def ratio(row):
    """Of requests a second; an engine whose answers were errors is not compared."""
    clean = {engine: found for engine, found in row.items() if isinstance(found, list)}
    clean = {engine: found for engine, found in clean.items() if not any(line["errors"] for line in found)}
    speeds = {engine: medians(found)["per_s"] for engine, found in clean.items()}
    ours = speeds.pop("maas", None)
    if ours is None or not speeds:
        return "–"
    best = max(speeds, key=speeds.get)
    return f"{ours / speeds[best]:.2f} ({best})"


def main():
    table, engines = rows(line for line in sys.stdin if line.strip())
    print("requests/s · p50 ms · p99 ms\n")
    print("| row | at once |", " | ".join(engines), "| maas / best peer |")
    print("| --- " * (len(engines) + 3) + "|")
    for (row, concurrency), found in table.items():
        print(f"| {row} | {concurrency} |", " | ".join(cell(found.get(engine)) for engine in engines), f"| {ratio(found)} |")


if __name__ == "__main__":
    main()
