#!/usr/bin/env bash
# Makes the data that config/train/digits.toml trains on and is measured with: spoken digit strings.
#
#   scripts/speech-data.sh [OUT]        (default: data/train/speech; about 90 seconds on two cores, 480 MB)
#
# OUT/clips.jsonl lists every clip: {"audio", "text", "voice", "split"}. All are WAV, 16 kHz, mono, 16 bit.
#   train  espeak-ng, many voices of seven accents, and flite's slt, rms, kal and kal16
#   test   voices that training never hears: espeak-ng variants and one accent that are held out, and flite's awb
#   real   recordings of a person: Allison Smith's digits from Debian's asterisk-core-sounds-en-wav (8 kHz,
#          CC-BY-SA-3.0), each alone and in strings with short pauses. For measurement only.
# The same versions of the programs make the same bytes: nothing here is random, nothing is fetched.
set -euo pipefail
export LC_ALL=C

out=${1:-data/train/speech}

for program in espeak-ng flite sox; do
  if ! command -v "$program" >/dev/null; then
    echo "$0: $program is missing; install it with: apt-get install espeak-ng flite sox asterisk-core-sounds-en-wav" >&2
    exit 1
  fi
done
recordings=/usr/share/asterisk/sounds/en_US_f_Allison/digits
if [[ ! -f $recordings/0.wav ]]; then
  echo "$0: $recordings is missing; install it with: apt-get install asterisk-core-sounds-en-wav" >&2
  exit 1
fi

mkdir -p "$out"/{train,test,real}

# One line a clip: file, split, engine, voice, rate, pitch, gap, text, separator.
plan() {
  awk '
    # Park and Miller 1988: the same numbers in every awk.
    function below(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) }
    function pick(list,   parts, n) { n = split(list, parts, " "); return parts[1 + below(n)] }
    function digits(   n, text, i) {
      n = 1 + below(6); text = ""
      for (i = 0; i < n; i++) text = text (i ? " " : "") pick("zero one two three four five six seven eight nine")
      return text
    }
    function clip(split_name, number, engine, voice,   separator) {
      separator = below(10) < 6 ? "space" : "comma"
      printf "%s/%05d.wav\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", split_name, number, split_name, engine, voice,
        90 + below(120), 20 + below(70), below(8), digits(), separator
    }
    BEGIN {
      state = 20240229
      heard = "en-us en-us en-us en-gb en-gb en-gb-scotland en-gb-x-gbclan en-gb-x-rp en-029 en-us-nyc"
      voices = "f1 f2 f3 f4 m1 m2 m4 m5 m6 m7 m8 klatt klatt2 klatt4 klatt5 klatt6 Alex Andrea Andy Annie " \
        "Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Nguyen Storm Tweaky adam anika antonio " \
        "aunty belinda benjamin caleb croak david ed edward edward2 grandma grandpa iven iven2 john " \
        "kaukovalta marcelo max michel miguel norbert pablo paul pedro quincy rob robert shelby steph steph2 " \
        "travis victor whisper zac"
      held_out = "f5 m3 klatt3 Alicia boris linda Denis sandro"
      for (i = 0; i < 5400; i++) clip("train", number++, "espeak-ng", pick(heard) "+" pick(voices))
      for (i = 0; i < 600; i++) clip("train", number++, "flite", pick("slt rms kal kal16"))
      for (i = 0; i < 400; i++) clip("test", number++, "espeak-ng", pick(heard " en-gb-x-gbcwmd en-gb-x-gbcwmd") "+" pick(held_out))
      for (i = 0; i < 60; i++) clip("test", number++, "flite", "awb")
      for (i = 0; i < 10; i++) {
        split("zero one two three four five six seven eight nine", word, " ")
        printf "real/%05d.wav\treal\trecording\tallison\t0\t0\t0\t%s\tspace\n", number++, word[i + 1]
      }
      for (i = 0; i < 140; i++) clip("real", number++, "recording", "allison")
    }'
}

# Speaks one line of the plan.
speak() {
  local file split engine voice rate pitch gap text separator
  IFS=$'\t' read -r file split engine voice rate pitch gap text separator <<<"$1"
  local spoken=$text
  [[ $separator == comma ]] && spoken=${text// /, }
  # -D: no dither, which would be random. -v 0.8: room for what resampling overshoots.
  case $engine in
    espeak-ng)
      espeak-ng -v "$voice" -s "$rate" -p "$pitch" -g "$gap" --stdout "$spoken" |
        sox -V1 -D -v 0.8 --ignore-length -t wav - -r 16000 -c 1 -b 16 "$out/$file" ;;
    flite)
      flite -voice "$voice" --setf "duration_stretch=$(awk "BEGIN { print 160 / ($rate + 20) }")" -t "$spoken" -o "$out/$file.part"
      sox -V1 -D -v 0.8 -t wav "$out/$file.part" -r 16000 -c 1 -b 16 "$out/$file"
      rm "$out/$file.part" ;;
    recording)
      local parts=() word
      local -A name=([zero]=0 [one]=1 [two]=2 [three]=3 [four]=4 [five]=5 [six]=6 [seven]=7 [eight]=8 [nine]=9)
      for word in $text; do parts+=("$recordings/${name[$word]}.wav"); done
      sox -V1 -D "${parts[@]}" -r 16000 -c 1 -b 16 "$out/$file" pad "0.0$gap" 0.1 ;;
  esac
}
export -f speak
export out recordings

plan >"$out/plan.tsv"
tr '\n' '\0' <"$out/plan.tsv" | xargs -0 -P "$(nproc)" -I{} bash -c 'speak "$1"' _ {}
awk -F'\t' '{ printf "{\"audio\": \"%s\", \"text\": \"%s\", \"voice\": \"%s\", \"split\": \"%s\"}\n", $1, $8, $3 ":" $4, $2 }' \
  "$out/plan.tsv" >"$out/clips.jsonl"
rm "$out/plan.tsv"
echo "$out: $(wc -l <"$out/clips.jsonl") clips" >&2
