#!/bin/sh
# Times this program beside ONNX Runtime and OpenVINO, on the same weights, on this machine, one after the other.
#
#   benches/compare/run.sh STORE MODEL[/VERSION] ...      # version 1 where none is said
#
# Needs Python 3.11 or newer and target/release/maas. The other engines are fetched with pip into target/compare.
# BATCH and THREADS (1,8,32 and 1,2) say what is measured. A text has the tokens of the package's first golden
# sample, and a picture is the network's own input: nothing is decoded.
set -eu

[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
store=$(cd "$1" && pwd)
shift
batch=${BATCH:-1,8,32}
threads=${THREADS:-1,2}
work=$root/target/compare
python=$work/venv/bin/python

if [ ! -x "$python" ]; then
    python3 -m venv "$work/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
fi

lines=$work/lines.jsonl
: >"$lines"
for model in "$@"; do
    case $model in */*) ;; *) model=$model/1 ;; esac
    "$root/target/release/maas" bench "$model" --in-process --network --json \
        --batch "$batch" --threads "$threads" --store "$store" | tee -a "$lines" >&2
    "$python" "$here/engines.py" --batch "$batch" --threads "$threads" "$store/$model" | tee -a "$lines" >&2
done
"$python" "$here/table.py" <"$lines"
