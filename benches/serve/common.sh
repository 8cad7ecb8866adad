# What run.sh and overload.sh share; they set `here` to this directory.

root=$(cd "$here/../.." && pwd)
target=$root/target/serve
program=${MAAS:-$root/target/release/maas}
export PYTHONPYCACHEPREFIX="$target/pycache"

command -v wrk >/dev/null || { echo "$0: wrk is missing; install it with: apt install wrk" >&2; exit 1; }
[ -x "$program" ] || { echo "$0: $program is missing; build it with: cargo build --release" >&2; exit 1; }
mkdir -p "$target"

# What is installed is noted last: a run that was cut off, or other requirements, install again.
install() {
    installed=$target/$1/requirements.txt
    cmp -s "$here/requirements/$1.txt" "$installed" && return
    rm -rf "${target:?}/$1"
    python3 -m venv "$target/$1" &&
        "$target/$1/bin/python" -m pip install --quiet --requirement "$here/requirements/$1.txt" &&
        cp "$here/requirements/$1.txt" "$installed"
}

# Runs a command that ends when this script is ended, and what it started with it.
run() {
    "$@" &
    trap 'kill "$!" 2>/dev/null; wait "$!"; exit 130' INT TERM
    wait "$!"
}
install tools
