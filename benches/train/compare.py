"""Trains with both programs and prints one table: the processor's seconds (user and system) of an epoch, and what the network
then scores on data that it has not seen. The seconds are those of a run without those of one of no epochs, which reads the
data and measures once too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FASHION, TEXT = "/usr/share/datasets/fashion-mnist", "data/train/kjv.txt"
NETWORKS = {
    "lenet": (HERE / "lenet.toml", FASHION, "accuracy"),
    "gru": (Path("config/train/bench-gru128.toml"), TEXT, "bits_per_char"),
}
ONE_THREAD = {name: "1" for name in ("RAYON_NUM_THREADS", "CANDLE_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def run(command):
    """What a command prints, and the seconds that the processor worked for it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD)
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return text.decode(), used.ru_utime + used.ru_stime


def maas(program, recipe, data, epochs, seed):
    with tempfile.TemporaryDirectory() as out:
        options = ["--data", data, "--epochs", epochs, "--seed", seed, "--out", out, "--json"]
        return run([program, "train", recipe, *map(str, options)])


def torch(program, network, data, epochs, seed):
    return run([program, HERE / "torch_train.py", network, data, str(epochs), str(seed)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maas")
    parser.add_argument("python")
    parser.add_argument("networks", nargs="*", help=" ".join(NETWORKS))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", default="0", help="0,1,2")
    options = parser.parse_args()
    print("| network | program | seed | CPU seconds an epoch | on unseen data |")
    print("| --- | --- | --- | --- | --- |")
    for network in options.networks or NETWORKS:
        recipe, data, metric = NETWORKS[network]
        programs = {
            "maas": lambda epochs, seed: maas(options.maas, recipe, data, epochs, seed),
            "PyTorch": lambda epochs, seed: torch(options.python, network, data, epochs, seed),
        }
        for seed in options.seeds.split(","):
            for name, train in programs.items():
                _, start = train(0, seed)
                lines, seconds = train(options.epochs, seed)
                last = [json.loads(line) for line in lines.splitlines() if metric in line][-1]
                each = (seconds - start) / options.epochs
                print(f"| {network} | {name} | {seed} | {each:.1f} | {metric} {last[metric]:.4f} |", flush=True)


if __name__ == "__main__":
    main()
