"""OpenAI's own client, unchanged: pip install openai.

Needs a server on the shipped models. MAAS_URL is its address, MAAS_KEY a key where it wants one, and MAAS_EMBEDDINGS
names a model that embeds texts (minilm-l6, which scripts/pretrained.sh packs): without it, embeddings are left out.
"""

import asyncio
import math
import os

import openai

URL = os.environ.get("MAAS_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("MAAS_KEY", "none")
EMBEDDINGS = os.environ.get("MAAS_EMBEDDINGS")

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
PROMPT = "In the beginning"


def refused(param, call, error=openai.BadRequestError):
    """The call fails with this error, which names the parameter."""
    try:
        call()
    except error as failure:
        assert failure.param == param, (failure.param, failure.message)
        assert failure.message and failure.type == "invalid_request_error", failure.body
    else:
        raise AssertionError(f"not refused: {param}")


def complete(**keys):
    return client.completions.create(**{"model": "kjv", "prompt": PROMPT, "seed": 7} | keys)


def chat(**keys):
    messages = [{"role": "user", "content": PROMPT}]
    return client.chat.completions.create(**{"model": "kjv", "messages": messages, "seed": 7} | keys)


# Models.
models = {model.id: model for model in client.models.list()}
assert {"digits", "fashion", "kjv"} <= models.keys(), models
fashion = client.models.retrieve("fashion")
assert fashion.object == "model" and fashion.owned_by and isinstance(fashion.created, int)
assert fashion.created > 1_700_000_000
assert (fashion.status, fashion.version, fashion.task) == ("ready", 1, "image-classification")
assert client.models.retrieve("kjv@1").id == "kjv@1"
refused("model", lambda: client.models.retrieve("nothing"), openai.NotFoundError)

# A completion.
answer = complete(max_tokens=40, temperature=0.7)
assert answer.id.startswith("cmpl-") and answer.object == "text_completion"
assert answer.model == "kjv" and answer.system_fingerprint.startswith("fp_")
choice = answer.choices[0]
assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "length", None)
assert len(choice.text) == 40
usage = answer.usage
assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (len(PROMPT), 40, 56)
assert complete(max_tokens=40, temperature=0.7).choices[0].text == choice.text, "one seed, one text"
assert complete(max_tokens=40, temperature=0.7, seed=8).choices[0].text != choice.text
assert len(complete().choices[0].text) == 16, "the default"
assert complete(model="kjv@1").model == "kjv@1"

# Several prompts, several texts of each, and the best of several.
answer = complete(prompt=["And", "The LORD"], n=3, max_tokens=8)
assert [choice.index for choice in answer.choices] == list(range(6))
assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 48)
assert len({choice.text for choice in answer.choices[:3]}) > 1
best = complete(best_of=8, max_tokens=20)
assert len(best.choices) == 1 and best.usage.completion_tokens == 160

# Stop texts, echoes, and token ids: the vocabulary of kjv is its characters.
stopped = complete(temperature=0, max_tokens=200, stop=[".", ","]).choices[0]
assert stopped.finish_reason == "stop" and not {".", ","} & set(stopped.text)
assert complete(echo=True, max_tokens=5).choices[0].text.startswith(PROMPT)
assert complete(echo=True, max_tokens=0).choices[0].text == PROMPT
ids = complete(prompt=[20, 50, 1], echo=True, max_tokens=0)
assert ids.choices[0].text == "In ", ids
assert [choice.text for choice in complete(prompt=[[20], [50]], echo=True, max_tokens=0).choices] == ["I", "n"]

# Probabilities.
scored = complete(temperature=0, max_tokens=6, logprobs=3, echo=True).choices[0]
logprobs = scored.logprobs
assert "".join(logprobs.tokens) == scored.text and len(logprobs.tokens) == len(PROMPT) + 6
assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
assert logprobs.text_offset == list(range(len(scored.text)))
for token, logprob, top in zip(logprobs.tokens[-6:], logprobs.token_logprobs[-6:], logprobs.top_logprobs[-6:]):
    assert len(top) == 3 and top[token] == logprob == max(top.values()), top
assert sum(map(math.exp, logprobs.top_logprobs[-1].values())) < 1

# What makes tokens likelier or less likely: id 1 is the space.
banned = complete(max_tokens=60, logit_bias={"1": -100}).choices[0].text
assert " " not in banned, banned
assert complete(max_tokens=9, logit_bias={"1": 100}).choices[0].text == " " * 9
plain, varied = (
    complete(max_tokens=100, temperature=0, frequency_penalty=penalty).choices[0].text for penalty in (0, 2)
)
assert len(set(varied)) > len(set(plain)), (plain, varied)
assert complete(max_tokens=30, temperature=0, presence_penalty=2).choices[0].text != plain[:30]
complete(max_tokens=3, top_p=0.9, user="ann", extra_body={"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1})

# Streams.
whole = complete(max_tokens=30).choices[0].text
chunks = list(complete(max_tokens=30, stream=True))
assert "".join(chunk.choices[0].text for chunk in chunks) == whole
assert len(chunks) == 31 and {chunk.id for chunk in chunks} == {chunks[0].id}
assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 30 + ["length"]
chunks = list(complete(prompt=["A", "B"], n=2, max_tokens=9, logprobs=1, stream=True, stream_options={"include_usage": True}))
assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 36 and chunks[-1].usage.prompt_tokens == 2
whole = complete(prompt=["A", "B"], n=2, max_tokens=9, logprobs=1)
for choice in whole.choices:
    parts = [chunk.choices[0] for chunk in chunks[:-1] if chunk.choices[0].index == choice.index]
    assert "".join(part.text for part in parts) == choice.text
    assert sum((part.logprobs.tokens for part in parts if part.logprobs), []) == choice.logprobs.tokens

# Chats: the messages' contents, one a line, are what the reply goes on from.
reply = chat(max_tokens=40)
assert reply.id.startswith("chatcmpl-") and reply.object == "chat.completion"
message = reply.choices[0].message
assert message.role == "assistant" and message.content == complete(max_tokens=40).choices[0].text
assert message.refusal is None and reply.choices[0].finish_reason == "length"
turns = [
    {"role": "system", "content": "And God said"},
    {"role": "user", "content": [{"type": "text", "text": "Let there "}, {"type": "text", "text": "be"}]},
]
lines = chat(messages=turns, max_completion_tokens=20, temperature=0).choices[0].message.content
assert lines == complete(prompt="And God said\nLet there be", max_tokens=20, temperature=0).choices[0].text
again = turns + [message.model_dump(exclude_none=True), {"role": "user", "content": "And"}]
assert chat(messages=again, max_tokens=2, n=2).usage.completion_tokens == 4

scored = chat(max_tokens=5, temperature=0, logprobs=True, top_logprobs=20).choices[0].logprobs.content
assert len(scored) == 5 and all(len(token.top_logprobs) == 20 for token in scored)
assert scored[0].token == scored[0].top_logprobs[0].token and bytes(scored[0].bytes).decode() == scored[0].token

chunks = list(chat(max_tokens=12, stream=True, stream_options={"include_usage": True}))
assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == ("assistant", "")
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == chat(max_tokens=12).choices[0].message.content
assert chunks[-2].choices[0].finish_reason == "length" and chunks[-1].usage.total_tokens == 28
with client.chat.completions.stream(model="kjv", messages=turns, max_tokens=500, stop=[",", ".", ":", ";"]) as stream:
    events = [event for event in stream if event.type == "content.delta"]
    assert "".join(event.delta for event in events) == stream.get_final_completion().choices[0].message.content


async def several():
    """Many at once, by the asynchronous client: each gets what it would get alone."""
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as client:
        ask = lambda seed: client.completions.create(model="kjv", prompt=PROMPT, seed=seed, max_tokens=20)
        answers = await asyncio.gather(*(ask(seed % 3) for seed in range(9)))
    texts = [answer.choices[0].text for answer in answers]
    assert texts[:3] == texts[3:6] == texts[6:]


asyncio.run(several())

# What is not honoured is refused, with its place.
refused("suffix", lambda: complete(suffix="end"))
refused("temperature", lambda: complete(temperature=-1))
refused("max_tokens", lambda: complete(max_tokens=10**9))
refused("n", lambda: complete(n=1000))
refused("best_of", lambda: complete(best_of=2, stream=True))
refused("logprobs", lambda: complete(logprobs=6))
refused("logit_bias", lambda: complete(logit_bias={"99": 1}))
refused("prompt", lambda: complete(prompt=""))
refused("prompt", lambda: complete(prompt=[1, 99]))
refused("prompt[1]", lambda: complete(prompt=["And", "€"]))
refused("colour", lambda: complete(extra_body={"colour": "red"}))
refused("model", lambda: complete(model="fashion"))
refused("model", lambda: complete(model="nothing"), openai.NotFoundError)
refused("model", lambda: complete(model="kjv@9"), openai.NotFoundError)
refused("tools", lambda: chat(tools=[{"type": "function", "function": {"name": "f"}}]))
refused("response_format.type", lambda: chat(response_format={"type": "json_object"}))
refused("modalities[1]", lambda: chat(modalities=["text", "audio"]))
refused("messages", lambda: chat(messages=[]))
refused("messages[0].role", lambda: chat(messages=[{"role": "tool", "content": "a", "tool_call_id": "b"}]))
picture = [{"type": "text", "text": "And"}, {"type": "image_url", "image_url": {"url": "http://x"}}]
refused("messages[0].content[1].type", lambda: chat(messages=[{"role": "user", "content": picture}]))
refused("max_completion_tokens", lambda: chat(max_tokens=5, max_completion_tokens=6))
refused("top_logprobs", lambda: chat(top_logprobs=5))
refused("model", lambda: client.embeddings.create(model="kjv", input="And"))

# Embeddings. The client asks for base64 by itself, and makes numbers of it.
if EMBEDDINGS:
    embed = lambda **keys: client.embeddings.create(**{"model": EMBEDDINGS} | keys)
    texts = ["A man is eating food.", "Someone eats.", "The sky is blue."]
    answer = embed(input=texts)
    first, second, third = (entry.embedding for entry in answer.data)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert abs(dot(first, first) - 1) < 1e-4 and dot(first, second) > dot(first, third)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 9
    assert answer.model == EMBEDDINGS and [entry.index for entry in answer.data] == [0, 1, 2]
    numbers = embed(input=texts[0], encoding_format="float").data[0].embedding
    assert max(abs(x - y) for x, y in zip(numbers, first)) < 1e-6
    short = embed(input=texts[0], dimensions=64).data[0].embedding
    assert len(short) == 64 and abs(dot(short, short) - 1) < 1e-4
    assert len(embed(input=[[2001, 2158], [2158]]).data) == 2 and len(embed(input=[2001, 2158]).data) == 1
    refused("dimensions", lambda: embed(input="a", dimensions=len(first) + 1))
    refused("input[1]", lambda: embed(input=["a", ""]))
    refused("model", lambda: complete(model=EMBEDDINGS))

print("openai", openai.__version__, "text: all well" if EMBEDDINGS else "text: all well, without embeddings")
