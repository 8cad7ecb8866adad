#!/usr/bin/env bash
# Every client that people have, unchanged, through all that this server offers it.
#
#   tests/clients/run.sh PROGRAM [STORE]
#
# STORE holds imported packages: with minilm-l6 embeddings are asked for, with whisper-tiny-en its times of words.
# Takes the default addresses, because the README's lines are run as they are written.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$1
imported=${2:-}
work=target/clients
venv=$work/venv
mkdir -p "$work"
if ! cmp -s tests/clients/requirements.txt "$work/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet -r tests/clients/requirements.txt
    cp tests/clients/requirements.txt "$work/installed.txt"
fi

# One store with the shipped models and those that were imported.
rm -rf "$work/store" "$work/state"
mkdir -p "$work/store"
cp -r models/* "$work/store/"
for name in minilm-l6 whisper-tiny-en; do
    if [[ -n $imported && -d $imported/$name ]]; then cp -r "$imported/$name" "$work/store/"; fi
done

# Its log goes to a file: thousands of requests that are refused on purpose would bury what the clients say.
"$program" serve --store "$work/store" --state "$work/state" --drain-grace-ms=0 --compat=torchserve \
    --metrics-compat="${METRICS_COMPAT:-none}" --log-filter=warn >"$work/server.log" 2>&1 &
server=$!
stop() {
    local status=$?
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    if [[ $status != 0 ]]; then printf 'the last lines of %s:\n' "$work/server.log" && tail -40 "$work/server.log"; fi
}
trap stop EXIT
for _ in $(seq 300); do
    "$program" health >/dev/null 2>&1 && break
    sleep 0.2
done
"$program" health

export MAAS_URL=http://127.0.0.1:8080 MAAS_HTTP=127.0.0.1:8080 MAAS_GRPC=127.0.0.1:9000
MAAS_ADMIN_KEY=$(cat "$work/state/admin.key")
export MAAS_ADMIN_KEY
[[ -d $work/store/minilm-l6 ]] && export MAAS_EMBEDDINGS=minilm-l6
[[ -d $work/store/whisper-tiny-en ]] && export MAAS_WHISPER=whisper-tiny-en

for client in tritonclient_http tritonclient_grpc health_and_reflection kserve_sdk openai_text openai_audio torchserve_curl readme; do
    timeout 300 "$venv/bin/python" "tests/clients/$client.py"
done

curl --silent --fail "$MAAS_URL/metrics" | promtool check metrics
echo 'promtool: passed'

"$venv/bin/schemathesis" --config-file tests/clients/schemathesis.toml run "$MAAS_URL/openapi.json" --max-time "${SCHEMATHESIS_S:-110}" \
    --header "Authorization: Bearer $MAAS_ADMIN_KEY" --no-color
