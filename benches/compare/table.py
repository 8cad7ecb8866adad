"""The lines of `engines.py` as one table: a row per model, number of threads and batch, a column per engine, medians in
microseconds. The last column is maas over the best of the others."""

import json
import sys


def rows(lines):
    table, engines = {}, []
    for line in lines:
        figure = json.loads(line)
        engine = figure["engine"]
        if engine not in engines:
            engines.append(engine)
        row = table.setdefault((figure["model"], figure["threads"], figure["batch"]), {})
        row[engine] = figure["median_us"]
    return table, sorted(engines, key=lambda engine: (engine != "maas", engine))


def main():
    table, engines = rows(line for line in sys.stdin if line.strip())
    print("| model | threads | batch |", " | ".join(engines), "| maas / best other |")
    print("| --- " * (len(engines) + 4) + "|")
    for (model, threads, batch), row in sorted(table.items()):
        figures = [f"{row[engine]:.0f}" if engine in row else "–" for engine in engines]
        others = [value for engine, value in row.items() if engine != "maas"]
        ratio = f"{row['maas'] / min(others):.2f}" if others and "maas" in row else "–"
        print(f"| {model} | {threads} | {batch} |", " | ".join(figures), f"| {ratio} |")


if __name__ == "__main__":
    main()
