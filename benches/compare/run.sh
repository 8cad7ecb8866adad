#!/bin/sh
# Times this program beside ONNX Runtime and OpenVINO, with the same weights, on this machine, in one run.
#
#   benches/compare/run.sh STORE MODEL ...       # name or name/version; --batch, --threads and --tokens may follow
#
# Needs Python 3.11 or newer and `cargo build --release`. The other engines come from PyPI, into target/compare; the
# lines of the run stay there, and its table is printed. A model takes about a minute.
set -eu

[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target
python=$target/compare/venv/bin/python
installed=$target/compare/venv/requirements.txt

# What is installed is noted last: a run that was cut off, or other requirements, install again.
if ! cmp -s "$here/requirements.txt" "$installed"; then
    python3 -m venv "$target/compare/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$installed"
fi
"$python" "$here/engines.py" "$target/release/maas" "$@" >"$target/compare/lines.jsonl"
"$python" "$here/table.py" <"$target/compare/lines.jsonl"
