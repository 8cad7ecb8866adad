#!/usr/bin/env bash
# Makes the data that config/train/english.toml trains on and is measured with: recordings of free English.
#
#   scripts/english-data.sh [OUT]       (default: data/train/english; some seconds, 25 MB)
#
# OUT/clips.jsonl lists every clip: {"audio", "text", "voice", "split"}. All are WAV, 8 kHz, mono, 16 bit.
#   train, validation, test   Allison Smith's telephone prompts from Debian's asterisk-core-sounds-en-wav (CC-BY-SA-3.0):
#                             of twenty, the seventh is for validation and the tenth and twentieth for the test
#   real                      another voice, which training never hears: five sentences of a LibriVox reading of Sense and
#                             Sensibility (public domain) from Debian's pocketsphinx-testdata
# Texts are in small letters, without punctuation, with single digits as words. Left out: sounds that are no speech, numerals that
# may be read in several ways, and what is longer than fifteen seconds.
set -euo pipefail
export LC_ALL=C

out=${1:-data/train/english}
prompts=/usr/share/asterisk/sounds/en_US_f_Allison
texts=/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz
readings=/usr/share/pocketsphinx/test/data/librivox
for needed in "$prompts" "$texts" "$readings" "$(command -v sox || echo sox)"; do
  if [[ ! -e $needed ]]; then
    echo "$0: $needed is missing; install it with: apt-get install asterisk-core-sounds-en asterisk-core-sounds-en-wav pocketsphinx-testdata sox" >&2
    exit 1
  fi
done
mkdir -p "$out"
: >"$out/clips.jsonl"

# What is said in small letters and spaces; nothing where a numeral is left.
spell() {
  tr '[:upper:]' '[:lower:]' <<<"$1" | sed -E '
    s/\b0\b/zero/g; s/\b1\b/one/g; s/\b2\b/two/g; s/\b3\b/three/g; s/\b4\b/four/g
    s/\b5\b/five/g; s/\b6\b/six/g; s/\b7\b/seven/g; s/\b8\b/eight/g; s/\b9\b/nine/g
    s/[-.,;:!?"()\/]+/ /g; s/ +/ /g; s/^ //; s/ $//; /[^a-z'"'"' ]/d'
}

# clip SOURCE NAME TEXT VOICE SPLIT
clip() {
  awk -v seconds="$(soxi -D "$1")" 'BEGIN { exit !(seconds >= 0.3 && seconds <= 15) }' || return 1
  # -D: no dither, which would be random. -v 0.9: room for what resampling overshoots.
  sox -V1 -D -v 0.9 "$1" -r 8000 -c 1 -b 16 "$out/$2.wav" || exit 1
  printf '{"audio": "%s.wav", "text": "%s", "voice": "%s", "split": "%s"}\n' "$2" "$3" "$4" "$5" >>"$out/clips.jsonl"
}

number=0
while IFS= read -r line; do
  name=${line%%: *} said=${line#*: }
  [[ $line == *': '* && $said != *'['* && -f $prompts/$name.wav ]] || continue
  text=$(spell "$said")
  [[ -n $text ]] || continue
  case $((number % 20)) in
    6) split=validation ;;
    9 | 19) split=test ;;
    *) split=train ;;
  esac
  if clip "$prompts/$name.wav" "allison-${name//\//-}" "$text" allison "$split"; then number=$((number + 1)); fi
done < <(zcat "$texts" | grep -v '^;')

while IFS= read -r line; do
  name=$(sed -E 's/.*\((.*)\).*/\1/' <<<"$line")
  clip "$readings/$name.wav" "librivox-${name##*-}" "$(sed -E 's/<\/?s>|\(.*\)//g; s/ +/ /g; s/^ //; s/ $//' <<<"$line")" librivox real || true
done <"$readings/transcription"
echo "$out: $(wc -l <"$out/clips.jsonl") clips" >&2
