#!/bin/sh
# How maas bears too much, as a table of what was measured beside what is wanted.
#
#   benches/serve/overload.sh STORE [overload] [neighbour] [disconnect] [soak] [--seconds 60] [--minutes 30] [--cores 0,1]
#
#   overload    EfficientNet with photographs, an open loop at three times what it can: goodput, refusals, health
#   neighbour   LeNet at 100 requests a second beside Whisper at full load
#   disconnect  crowds of 1000 clients that leave in the middle of their body, and others that leave while their row waits
#   soak        all models at half of what they can, for some minutes: errors, memory, open files
#
# Needs what run.sh needs, and reads the same packages and variables.
set -eu

[ $# -ge 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
run "$target/tools/bin/python" "$here/overload.py" "$program" "$target" "$@"
