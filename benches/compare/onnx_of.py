"""Writes a package's network, or a part of it, as ONNX, with the package's own weights.

The layers are those of docs/packages.md; what is not known here is refused by its name. Nothing is folded or
fused: that is for each engine to do. Sizes that an input may have any of are called `batch`, `time` and
`read`: what a decoder has read.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import load_file

OPSET = 20


class Graph:
    """Nodes and weights as they are added."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def add(self, kind, *inputs, **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, values, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name):
        return self.constant(self.weights[name].astype(np.float32))

    def has(self, name):
        return name in self.weights

    def linear(self, x, name):
        """x · Wᵀ + b over the last dimension."""
        x = self.add("MatMul", x, self.constant(self.weights[f"{name}.weight"].astype(np.float32).T))
        return self.add("Add", x, self.weight(f"{name}.bias")) if self.has(f"{name}.bias") else x

    def activation(self, x, kind):
        kinds = {"relu": "Relu", "gelu": "Gelu", "hard-swish": "HardSwish"}
        if kind == "relu6":
            return self.add("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))
        if kind == "silu":
            return self.add("Mul", x, self.add("Sigmoid", x))
        return self.add(kinds[kind], x)

    def norm_rows(self, x, name, eps):
        parts = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, *parts, axis=-1, epsilon=eps)

    def heads(self, x, count, order):
        """[batch, time, width] by heads: [0, 2, 1, 3] gives [batch, heads, time, depth]."""
        shape = self.constant(np.array([0, 0, count, -1], np.int64))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=order)

    def attend(self, q, k, v, width, heads):
        """q and v are [batch, heads, time, depth], k is [batch, heads, depth, time]; gives [batch, time, width]."""
        scale = self.constant(np.float32((width // heads) ** 0.5))
        scores = self.add("Softmax", self.add("Div", self.add("MatMul", q, k), scale), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", scores, v), perm=[0, 2, 1, 3])
        return self.add("Reshape", mixed, self.constant(np.array([0, 0, width], np.int64)))

    def model(self, inputs, outputs):
        graph = helper.make_graph(self.nodes, "package", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def ids(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


class Cnn(Graph):
    """A list of layers over pictures [batch, channels, rows, columns]."""

    def pair(self, size):
        return [size, size] if isinstance(size, int) else list(size)

    def norm(self, x, name, eps):
        parts = [self.weight(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", x, *parts, epsilon=eps)

    def convolve(self, x, name, kernel, stride=1, dilation=1, groups=1, padding=0):
        where = {"auto_pad": "SAME_UPPER"} if padding == "same" else {"pads": self.pair(padding) * 2}
        weights = [self.weight(f"{name}.weight")]
        weights += [self.weight(f"{name}.bias")] if self.has(f"{name}.bias") else []
        sizes = {"kernel_shape": self.pair(kernel), "strides": self.pair(stride), "dilations": self.pair(dilation)}
        return self.add("Conv", x, *weights, group=groups, **sizes, **where)

    def bottleneck(self, x, name, layer):
        eps, kernel, stride = layer.get("eps", 1e-5), layer["kernel"], layer.get("stride", 1)
        first, y = x, x
        if self.has(f"{name}.expand.weight"):
            y = self.norm(self.convolve(y, f"{name}.expand", 1), f"{name}.expand_norm", eps)
            y = self.activation(y, layer["activation"])
        groups = self.weights[f"{name}.depthwise.weight"].shape[0]
        y = self.convolve(y, f"{name}.depthwise", kernel, stride, groups=groups, padding="same")
        y = self.activation(self.norm(y, f"{name}.depthwise_norm", eps), layer["activation"])
        y = self.norm(self.convolve(y, f"{name}.project", 1), f"{name}.project_norm", eps)
        inputs = groups // layer["expand"]
        return self.add("Add", y, first) if stride == 1 and inputs == layer["out"] else y

    def pool(self, x, kind, layer):
        sizes = {"kernel_shape": self.pair(layer["kernel"]), "strides": self.pair(layer.get("stride", layer["kernel"]))}
        return self.add(kind, x, pads=self.pair(layer.get("padding", 0)) * 2, **sizes)

    def layer(self, x, name, layer):
        kind = layer["kind"]
        match kind:
            case "convolution":
                keys = ("kernel", "stride", "dilation", "groups", "padding")
                return self.convolve(x, name, **{key: layer[key] for key in keys if key in layer})
            case "batch-norm":
                return self.norm(x, name, layer.get("eps", 1e-5))
            case "inverted-bottleneck":
                return self.bottleneck(x, name, layer)
            case "max-pool":
                return self.pool(x, "MaxPool", layer)
            case "average-pool":
                return self.pool(x, "AveragePool", layer)
            case "global-average-pool":
                return self.add("Flatten", self.add("GlobalAveragePool", x))
            case "flatten":
                return self.add("Flatten", x)
            case "linear":
                return self.linear(x, name)
            case "dropout":
                return x
            case "residual":
                body = self.layers(x, f"{name}.layers", layer["layers"])
                shortcut = self.layers(x, f"{name}.shortcut", layer.get("shortcut", []))
                y = self.add("Add", body, shortcut)
                return self.activation(y, layer["activation"]) if "activation" in layer else y
            case _:
                return self.activation(x, kind)

    def layers(self, x, name, layers):
        for index, layer in enumerate(layers):
            x = self.layer(x, f"{name}.{index}", layer)
        return x


def cnn(manifest, weights):
    graph = Cnn(weights)
    x = graph.layers("x", "layers", manifest["architecture"]["config"]["layers"])
    if manifest["task"] == "image-classification":
        x = graph.add("Softmax", x, axis=-1)
    outputs = [floats(x, "batch", *manifest["outputs"][0]["shape"])]
    return graph.model([floats("x", "batch", *manifest["inputs"][0]["shape"])], outputs)


class Bert(Graph):
    """Token ids [batch, time], all rows of one length, to embeddings."""

    def block(self, x, name, config):
        heads, eps = config["heads"], config["layer_norm_eps"]
        attention = f"{name}.attention.self"
        q = self.heads(self.linear(x, f"{attention}.query"), heads, [0, 2, 1, 3])
        k = self.heads(self.linear(x, f"{attention}.key"), heads, [0, 2, 3, 1])
        v = self.heads(self.linear(x, f"{attention}.value"), heads, [0, 2, 1, 3])
        mixed = self.attend(q, k, v, config["width"], heads)
        x = self.add("Add", self.linear(mixed, f"{name}.attention.output.dense"), x)
        x = self.norm_rows(x, f"{name}.attention.output.LayerNorm", eps)
        y = self.activation(self.linear(x, f"{name}.intermediate.dense"), config["activation"])
        y = self.add("Add", self.linear(y, f"{name}.output.dense"), x)
        return self.norm_rows(y, f"{name}.output.LayerNorm", eps)


def bert(manifest, weights):
    config, graph = manifest["architecture"]["config"], Bert(weights)
    table = lambda name: graph.weights[f"embeddings.{name}_embeddings.weight"].astype(np.float32)
    positions = graph.constant(table("position") + table("token_type")[:1])
    time = graph.add("Shape", "ids", start=1, end=2)
    zero = graph.constant(np.array([0], np.int64))
    x = graph.add("Gather", graph.constant(table("word")), "ids")
    x = graph.add("Add", x, graph.add("Slice", positions, zero, time, zero))
    x = graph.norm_rows(x, "embeddings.LayerNorm", config["layer_norm_eps"])
    for layer in range(config["layers"]):
        x = graph.block(x, f"encoder.layer.{layer}", config)
    if config["pooling"] == "mean":
        x = graph.add("ReduceMean", x, graph.constant(np.array([1], np.int64)), keepdims=0)
    else:
        x = graph.add("Gather", x, graph.constant(np.int64(0)), axis=1)
    if config["normalise"]:
        x = graph.add("LpNormalization", x, axis=-1, p=2)
    return graph.model([ids("ids", "batch", "time")], [floats(x, "batch", *manifest["outputs"][0]["shape"])])


class Gru(Graph):
    """Token ids [time, batch] and states [layers, batch, hidden] to the logits after the last."""

    def gates(self, name):
        """From the order of PyTorch (reset, update, new) to that of ONNX (update, reset, hidden)."""
        reset, update, new = np.split(self.weights[name].astype(np.float32), 3)
        return np.concatenate([update, reset, new])[None]

    def read(self, x, state, layer, hidden):
        """The states after every token, [time, batch, hidden], and after the last."""
        w, r = (self.constant(self.gates(f"rnn.weight_{part}_l{layer}")) for part in ("ih", "hh"))
        biases = [self.gates(f"rnn.bias_{part}_l{layer}") for part in ("ih", "hh")]
        inputs = [x, w, r, self.constant(np.concatenate(biases, axis=1)), "", state]
        every = self.add("GRU", *inputs, hidden_size=hidden, linear_before_reset=1)
        last = f"{every}_last"
        self.nodes[-1].output.append(last)
        return self.add("Squeeze", every, self.constant(np.array([1], np.int64))), last


def gru(manifest, weights):
    config, graph = manifest["architecture"]["config"], Gru(weights)
    if config["cell"] != "gru":
        sys.exit(f"{manifest['name']}: a cell of {config['cell']} is not known here: expected gru")
    layers, hidden = config.get("layers", 1), config["hidden"]
    x = graph.add("Gather", graph.weight("embedding.weight"), "tokens")
    for layer in range(layers):
        place = [graph.constant(np.array([at], np.int64)) for at in (layer, layer + 1, 0)]
        x, last = graph.read(x, graph.add("Slice", "state", *place), layer, hidden)
    x = graph.linear(graph.add("Squeeze", last, graph.constant(np.array([0], np.int64))), "head")
    inputs = [ids("tokens", "time", "batch"), floats("state", layers, "batch", hidden)]
    return graph.model(inputs, [floats(x, "batch", weights["head.weight"].shape[0])])


class Whisper(Graph):
    """The encoder and what the decoder hears of it; one step of the decoder."""

    EPS = 1e-5

    def __init__(self, config, weights):
        super().__init__(weights)
        self.config, self.width = config, config["width"]

    def convolve(self, x, name, stride):
        weights = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("Gelu", self.add("Conv", x, *weights, kernel_shape=[3], strides=[stride], pads=[1, 1]))

    def feed(self, x, name):
        y = self.norm_rows(x, f"{name}.final_layer_norm", self.EPS)
        return self.add("Add", x, self.linear(self.add("Gelu", self.linear(y, f"{name}.fc1")), f"{name}.fc2"))

    def key_values(self, x, name, heads):
        k = self.heads(self.linear(x, f"{name}.k_proj"), heads, [0, 2, 3, 1])
        return k, self.heads(self.linear(x, f"{name}.v_proj"), heads, [0, 2, 1, 3])

    def query(self, x, name, heads):
        """The normal rows that a layer's attention reads, and its queries."""
        normal = self.norm_rows(x, f"{name}_layer_norm", self.EPS)
        return normal, self.heads(self.linear(normal, f"{name}.q_proj"), heads, [0, 2, 1, 3])

    def attended(self, x, name, q, k, v, heads):
        return self.add("Add", x, self.linear(self.attend(q, k, v, self.width, heads), f"{name}.out_proj"))

    def encoder(self):
        config, heads = self.config, self.config["encoder_heads"]
        x = self.convolve(self.convolve("x", "encoder.conv1", 1), "encoder.conv2", 2)
        x = self.add("Add", self.add("Transpose", x, perm=[0, 2, 1]), self.weight("encoder.embed_positions.weight"))
        for layer in range(config["encoder_layers"]):
            name = f"encoder.layers.{layer}.self_attn"
            normal, q = self.query(x, name, heads)
            x = self.attended(x, name, q, *self.key_values(normal, name, heads), heads)
            x = self.feed(x, f"encoder.layers.{layer}")
        x = self.norm_rows(x, "encoder.layer_norm", self.EPS)
        outputs, heads, time = [floats(x, "batch", None, None)], config["decoder_heads"], config["audio_positions"]
        for layer in range(config["decoder_layers"]):
            k, v = self.key_values(x, f"decoder.layers.{layer}.encoder_attn", heads)
            outputs += [floats(k, "batch", heads, None, time), floats(v, "batch", heads, time, None)]
        return self.model([floats("x", "batch", config["mels"], 2 * time)], outputs)

    def step(self):
        config, heads = self.config, self.config["decoder_heads"]
        depth, inputs, states = self.width // heads, [ids("tokens", "batch", 1), ids("at", 1)], []
        x = self.add("Gather", self.weight("decoder.embed_tokens.weight"), "tokens")
        x = self.add("Add", x, self.add("Gather", self.weight("decoder.embed_positions.weight"), "at"))
        for layer in range(config["decoder_layers"]):
            name, (k, v, hk, hv) = f"decoder.layers.{layer}", (f"{part}{layer}" for part in ("keys", "values", "heard_keys", "heard_values"))
            inputs += [floats(k, "batch", heads, depth, "read"), floats(v, "batch", heads, "read", depth)]
            heard = config["audio_positions"]
            inputs += [floats(hk, "batch", heads, depth, heard), floats(hv, "batch", heads, heard, depth)]
            normal, q = self.query(x, f"{name}.self_attn", heads)
            new_k, new_v = self.key_values(normal, f"{name}.self_attn", heads)
            k, v = self.add("Concat", k, new_k, axis=3), self.add("Concat", v, new_v, axis=2)
            states += [floats(k, "batch", heads, depth, None), floats(v, "batch", heads, None, depth)]
            x = self.attended(x, f"{name}.self_attn", q, k, v, heads)
            _, q = self.query(x, f"{name}.encoder_attn", heads)
            x = self.feed(self.attended(x, f"{name}.encoder_attn", q, hk, hv, heads), name)
        x = self.norm_rows(x, "decoder.layer_norm", self.EPS)
        head = self.constant(self.weights["decoder.embed_tokens.weight"].astype(np.float32).T)
        logits = self.add("MatMul", x, head)
        return self.model(inputs, [floats(logits, "batch", 1, config["vocabulary"]), *states])


def whisper(manifest, weights, part):
    graph = Whisper(manifest["architecture"]["config"], weights)
    return graph.encoder() if part == "encoder" else graph.step()


def onnx_of(package, part=None):
    """The ONNX model of the package in a directory; of Whisper its `encoder` or a `step` of its decoder."""
    package = Path(package)
    manifest = tomllib.loads((package / "manifest.toml").read_text(encoding="utf-8"))
    weights = load_file(package / "weights.safetensors")
    architecture = manifest["architecture"]
    kind = architecture["config"].get("kind", architecture["name"])
    writers = {"cnn": cnn, "bert": bert, "gru": gru, "whisper": lambda *of: whisper(*of, part)}
    if kind not in writers:
        sys.exit(f"{package}: {kind} is not known here: expected one of {', '.join(writers)}")
    model = writers[kind](manifest, weights)
    onnx.checker.check_model(model)
    return model
