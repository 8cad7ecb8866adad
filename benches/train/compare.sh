#!/bin/sh
# Times an epoch of training beside PyTorch: the same networks, data, optimisers and batches, one thread each, one program
# after the other, on this machine.
#
#   benches/train/compare.sh [--epochs 1] [--seeds 0] [lenet] [gru]
#
# Needs Python 3.11 or newer, cargo, Debian's package dataset-fashion-mnist and data/train/kjv.txt, which scripts/kjv-text.sh
# makes. PyTorch comes from PyPI, into target/train; PYTHON may name an interpreter that has it, MAAS another build. All
# takes about five minutes.
set -eu

cd "$(dirname "$0")/../.."
here=benches/train
target=target/train
python=${PYTHON:-$target/venv/bin/python}
maas=${MAAS:-target/release/maas}

if [ -z "${PYTHON:-}" ] && ! cmp -s "$here/requirements.txt" "$target/venv/requirements.txt"; then
    python3 -m venv "$target/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    # Noted last: a run that was cut off installs again.
    cp "$here/requirements.txt" "$target/venv/requirements.txt"
fi
[ -n "${MAAS:-}" ] || cargo build --locked --release --bin maas
exec "$python" "$here/compare.py" "$maas" "$python" "$@"
