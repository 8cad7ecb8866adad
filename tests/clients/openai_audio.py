"""Speech to text with the `openai` package, as it comes from PyPI.

    pip install openai
    MAAS_URL=http://127.0.0.1:8080 python tests/clients/openai_audio.py

Runs on the shipped model `digits`, and on the Whisper that MAAS_WHISPER names, where it is set.
"""

import os
import pathlib
import re

import openai

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE = ROOT / "models/digits/1/golden/code.wav"
CLIP = ROOT / "tests/pretrained/data/speech/librivox_sense_and_sensibility_01_austen_64kb-0890.flac"

URL = os.environ.get("MAAS_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("MAAS_KEY", "none")
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


def transcribe(model, sound, **more):
    with open(sound, "rb") as file:
        return client.audio.transcriptions.create(model=model, file=file, **more)


def formats(model, sound):
    """All five, and what they have in common."""
    short = transcribe(model, sound)
    assert short.text and short.usage.type == "duration" and short.usage.seconds > 1

    assert transcribe(model, sound, response_format="text") == short.text + "\n"

    verbose = transcribe(model, sound, response_format="verbose_json")
    assert abs(verbose.duration - short.usage.seconds) < 1e-6
    assert verbose.task == "transcribe" and verbose.words is None
    check_segments(verbose)

    srt = transcribe(model, sound, response_format="srt")
    cues = [cue.split("\n", 2) for cue in srt.strip().split("\n\n")]
    assert [int(number) for number, _, _ in cues] == list(range(1, len(verbose.segments) + 1))
    clock = r"\d\d:\d\d:\d\d,\d{3}"
    assert all(re.fullmatch(f"{clock} --> {clock}", times) for _, times, _ in cues)
    assert [text for _, _, text in cues] == [segment.text for segment in verbose.segments]

    vtt = transcribe(model, sound, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:0") and vtt.count(" --> ") == len(cues)


def check_segments(verbose):
    end = 0.0
    for at, segment in enumerate(verbose.segments):
        assert segment.id == at and segment.tokens and segment.text
        assert end <= segment.start < segment.end <= verbose.duration
        assert segment.avg_logprob <= 0 and 0 <= segment.no_speech_prob <= 1
        assert segment.compression_ratio > 0 and segment.seek >= 0
        end = segment.end


def words(model, sound):
    """When each word was said."""
    both = transcribe(
        model, sound, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    check_segments(both)
    assert [word.word for word in both.words] == both.text.split()
    times = [time for word in both.words for time in (word.start, word.end)]
    assert times == sorted(times) and 0 <= times[0] and times[-1] <= both.duration

    alone = transcribe(
        model, sound, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert alone.segments is None and alone.words == both.words
    return both.words


def stream(model, sound):
    """The text as it comes, then the whole."""
    events = list(transcribe(model, sound, stream=True))
    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text


def refused(param, **more):
    """A request that is refused, because of this parameter."""
    more = {"model": "digits", **more}
    try:
        transcribe(more.pop("model"), more.pop("sound", CODE), **more)
    except openai.APIStatusError as error:
        assert error.status_code in (400, 404, 415, 422), error
        assert error.param == param, (error.param, error.message)
        return error
    raise AssertionError(f"{param} was not refused")


def refusals():
    refused("model", model="nobody")
    refused("model", model="fashion")
    refused("file", sound=__file__)
    refused("response_format", response_format="diarized_json")
    refused("timestamp_granularities[]", timestamp_granularities=["word"])
    refused("response_format", stream=True, response_format="verbose_json")
    refused("include[]", include=["logprobs"])
    refused("chunking_strategy", chunking_strategy="auto")
    # One language, one way to hear it, nothing that was said before.
    refused("language", language="en")
    refused("prompt", prompt="one two three")
    refused("temperature", temperature=0.5)
    try:
        with open(CODE, "rb") as file:
            client.audio.translations.create(model="digits", file=file)
    except openai.BadRequestError as error:
        assert error.param == "model"
    else:
        raise AssertionError("digits translates")


def whisper(model):
    formats(model, CLIP)
    stream(model, CLIP)
    for word in words(model, CLIP):
        print(f"  {word.start:6.2f} {word.end:6.2f} {word.word}")
    plain = transcribe(model, CLIP, language="en", temperature=0)
    assert plain.text == transcribe(model, CLIP).text
    assert transcribe(model, CLIP, prompt="Sense and Sensibility, by Jane Austen.").text
    assert transcribe(model, CLIP, temperature=0.2).text
    refused("language", model=model, sound=CLIP, language="english")


formats("digits", CODE)
formats("digits@1", CODE)
words("digits", CODE)
stream("digits", CODE)
refusals()
if name := os.environ.get("MAAS_WHISPER"):
    whisper(name)
print("openai audio: all well")
