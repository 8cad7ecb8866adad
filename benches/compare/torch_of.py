"""A package's network, or a part of it, as PyTorch runs it eagerly: the modules and functions that people would use,
with the package's own weights. Takes the inputs of `onnx_of`, by name, and gives the same outputs.
"""

import tomllib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

ACTIVATIONS = {
    "relu": F.relu, "relu6": F.relu6, "gelu": F.gelu, "silu": F.silu, "hard-swish": F.hardswish,
}


class Weights:
    """Tensors by name, and the layers that are made of them."""

    def __init__(self, tensors):
        self.tensors = {name: tensor.float() for name, tensor in tensors.items()}

    def __getitem__(self, name):
        return self.tensors[name]

    def get(self, name):
        return self.tensors.get(name)

    def linear(self, x, name):
        return F.linear(x, self[f"{name}.weight"], self.get(f"{name}.bias"))

    def norm_rows(self, x, name, eps):
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def norm(self, x, name, eps):
        parts = (self[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=eps)


def pair(size):
    return [size, size] if isinstance(size, int) else list(size)


def convolve(weights, x, name, kernel, stride=1, dilation=1, groups=1, padding=0):
    if padding == "same":
        # As TensorFlow does it: where the border is odd, more of it lies below and to the right.
        gaps = []
        for size, k, s, d in reversed(list(zip(x.shape[2:], pair(kernel), pair(stride), pair(dilation)))):
            gap = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            gaps += [gap // 2, gap - gap // 2]
        alike = gaps[0] == gaps[1] and gaps[2] == gaps[3]
        x, padding = (x, [gaps[2], gaps[0]]) if alike else (F.pad(x, gaps), 0)
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding, dilation, groups)


def bottleneck(weights, x, name, layer):
    eps, kernel, stride = layer.get("eps", 1e-5), layer["kernel"], layer.get("stride", 1)
    activate, y = ACTIVATIONS[layer["activation"]], x
    if weights.get(f"{name}.expand.weight") is not None:
        y = activate(weights.norm(convolve(weights, y, f"{name}.expand", 1), f"{name}.expand_norm", eps))
    groups = y.shape[1]
    y = convolve(weights, y, f"{name}.depthwise", kernel, stride, groups=groups, padding="same")
    y = activate(weights.norm(y, f"{name}.depthwise_norm", eps))
    y = weights.norm(convolve(weights, y, f"{name}.project", 1), f"{name}.project_norm", eps)
    return y + x if y.shape == x.shape else y


def layer_of(weights, x, name, layer):
    kind = layer["kind"]
    match kind:
        case "convolution":
            keys = ("kernel", "stride", "dilation", "groups", "padding")
            return convolve(weights, x, name, **{key: layer[key] for key in keys if key in layer})
        case "batch-norm":
            return weights.norm(x, name, layer.get("eps", 1e-5))
        case "inverted-bottleneck":
            return bottleneck(weights, x, name, layer)
        case "max-pool":
            return F.max_pool2d(x, layer["kernel"], layer.get("stride"), layer.get("padding", 0))
        case "average-pool":
            return F.avg_pool2d(x, layer["kernel"], layer.get("stride"))
        case "global-average-pool":
            return x.mean((2, 3))
        case "flatten":
            return x.flatten(1)
        case "linear":
            return weights.linear(x, name)
        case "dropout":
            return x
        case "residual":
            y = layers_of(weights, x, f"{name}.layers", layer["layers"])
            y = y + layers_of(weights, x, f"{name}.shortcut", layer.get("shortcut", []))
            return ACTIVATIONS[layer["activation"]](y) if "activation" in layer else y
        case _:
            return ACTIVATIONS[kind](x)


def layers_of(weights, x, name, layers):
    for index, layer in enumerate(layers):
        x = layer_of(weights, x, f"{name}.{index}", layer)
    return x


def cnn(manifest, weights, _):
    layers, classifies = manifest["architecture"]["config"]["layers"], manifest["task"] == "image-classification"

    def run(x):
        y = layers_of(weights, x, "layers", layers)
        return [y.softmax(-1) if classifies else y]

    return run


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def attend(q, k, v):
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def bert_block(weights, x, name, config):
    eps, self_attention = config["layer_norm_eps"], f"{name}.attention.self"
    parts = (weights.linear(x, f"{self_attention}.{part}") for part in ("query", "key", "value"))
    mixed = attend(*(heads(part, config["heads"]) for part in parts))
    x = weights.norm_rows(weights.linear(mixed, f"{name}.attention.output.dense") + x,
                          f"{name}.attention.output.LayerNorm", eps)
    y = ACTIVATIONS[config["activation"]](weights.linear(x, f"{name}.intermediate.dense"))
    return weights.norm_rows(weights.linear(y, f"{name}.output.dense") + x, f"{name}.output.LayerNorm", eps)


def bert(manifest, weights, _):
    config = manifest["architecture"]["config"]
    table = lambda name: weights[f"embeddings.{name}_embeddings.weight"]
    positions = table("position") + table("token_type")[:1]

    def run(ids):
        x = F.embedding(ids, table("word")) + positions[: ids.shape[1]]
        x = weights.norm_rows(x, "embeddings.LayerNorm", config["layer_norm_eps"])
        for layer in range(config["layers"]):
            x = bert_block(weights, x, f"encoder.layer.{layer}", config)
        x = x.mean(1) if config["pooling"] == "mean" else x[:, 0]
        return [F.normalize(x, dim=-1) if config["normalise"] else x]

    return run


def gru(manifest, weights, _):
    config = manifest["architecture"]["config"]
    table = weights["embedding.weight"]
    rnn = nn.GRU(table.shape[1], config["hidden"], config.get("layers", 1))
    rnn.load_state_dict({name.removeprefix("rnn."): t for name, t in weights.tensors.items() if name.startswith("rnn.")})

    def run(tokens, state):
        y, _ = rnn(F.embedding(tokens, table), state)
        return [weights.linear(y[-1], "head")]

    return run


class Whisper:
    """The encoder and what the decoder hears of it; one step of the decoder."""

    EPS = 1e-5

    def __init__(self, config, weights):
        self.config, self.weights = config, weights

    def normal(self, x, name):
        return self.weights.norm_rows(x, name, self.EPS)

    def feed(self, x, name):
        y = F.gelu(self.weights.linear(self.normal(x, f"{name}.final_layer_norm"), f"{name}.fc1"))
        return x + self.weights.linear(y, f"{name}.fc2")

    def project(self, x, name, parts, count):
        return [heads(self.weights.linear(x, f"{name}.{part}_proj"), count) for part in parts]

    def encoder(self, x):
        config, weights = self.config, self.weights
        for stride in (1, 2):
            name = f"encoder.conv{stride}"
            x = F.gelu(F.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, 1))
        x = x.transpose(1, 2) + weights["encoder.embed_positions.weight"]
        for layer in range(config["encoder_layers"]):
            name = f"encoder.layers.{layer}.self_attn"
            normal = self.normal(x, f"{name}_layer_norm")
            x = x + weights.linear(attend(*self.project(normal, name, "qkv", config["encoder_heads"])), f"{name}.out_proj")
            x = self.feed(x, f"encoder.layers.{layer}")
        x, heard = self.normal(x, "encoder.layer_norm"), []
        for layer in range(config["decoder_layers"]):
            k, v = self.project(x, f"decoder.layers.{layer}.encoder_attn", "kv", config["decoder_heads"])
            heard += [k.transpose(2, 3), v]
        return [x, *heard]

    def step(self, tokens, at, **memory):
        weights, count = self.weights, self.config["decoder_heads"]
        x = F.embedding(tokens, weights["decoder.embed_tokens.weight"]) + weights["decoder.embed_positions.weight"][at]
        states = []
        for layer in range(self.config["decoder_layers"]):
            name, (k, v, hk, hv) = f"decoder.layers.{layer}", (memory[f"{part}{layer}"] for part in ("keys", "values", "heard_keys", "heard_values"))
            q, new_k, new_v = self.project(self.normal(x, f"{name}.self_attn_layer_norm"), f"{name}.self_attn", "qkv", count)
            k, v = torch.cat([k, new_k.transpose(2, 3)], 3), torch.cat([v, new_v], 2)
            states += [k, v]
            x = x + weights.linear(attend(q, k.transpose(2, 3), v), f"{name}.self_attn.out_proj")
            (q,) = self.project(self.normal(x, f"{name}.encoder_attn_layer_norm"), f"{name}.encoder_attn", "q", count)
            x = x + weights.linear(attend(q, hk.transpose(2, 3), hv), f"{name}.encoder_attn.out_proj")
            x = self.feed(x, name)
        x = self.normal(x, "decoder.layer_norm")
        return [F.linear(x, weights["decoder.embed_tokens.weight"]), *states]


def whisper(manifest, weights, part):
    network = Whisper(manifest["architecture"]["config"], weights)
    return network.encoder if part == "encoder" else network.step


def torch_of(package, part=None):
    """A function of the inputs, as tensors by name."""
    package = Path(package)
    manifest = tomllib.loads((package / "manifest.toml").read_text(encoding="utf-8"))
    architecture = manifest["architecture"]
    kind = architecture["config"].get("kind", architecture["name"])
    kinds = {"cnn": cnn, "bert": bert, "gru": gru, "whisper": whisper}
    return kinds[kind](manifest, Weights(load_file(package / "weights.safetensors")), part)
