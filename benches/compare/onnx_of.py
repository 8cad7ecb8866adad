"""Writes a package's network as ONNX, with the package's own weights.

The layers are those of docs/packages.md; what is not known here is refused by its name. Nothing is folded or
fused: that is for each engine to do.
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

    def model(self, inputs, output, shape):
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *shape])
        graph = helper.make_graph(self.nodes, "package", inputs, [result], self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


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
    shape = ["batch", *manifest["inputs"][0]["shape"]]
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    return graph.model([picture], x, manifest["outputs"][0]["shape"])


class Bert(Graph):
    """Token ids [batch, time], all rows of one length, to embeddings."""

    def norm(self, x, name, eps):
        parts = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, *parts, axis=-1, epsilon=eps)

    def heads(self, x, count, order):
        shape = self.constant(np.array([0, 0, count, -1], np.int64))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=order)

    def block(self, x, name, config):
        heads, eps = config["heads"], config["layer_norm_eps"]
        attention = f"{name}.attention.self"
        q = self.heads(self.linear(x, f"{attention}.query"), heads, [0, 2, 1, 3])
        k = self.heads(self.linear(x, f"{attention}.key"), heads, [0, 2, 3, 1])
        v = self.heads(self.linear(x, f"{attention}.value"), heads, [0, 2, 1, 3])
        scale = self.constant(np.float32((config["width"] // heads) ** 0.5))
        scores = self.add("Softmax", self.add("Div", self.add("MatMul", q, k), scale), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", scores, v), perm=[0, 2, 1, 3])
        mixed = self.add("Reshape", mixed, self.constant(np.array([0, 0, config["width"]], np.int64)))
        x = self.add("Add", self.linear(mixed, f"{name}.attention.output.dense"), x)
        x = self.norm(x, f"{name}.attention.output.LayerNorm", eps)
        y = self.activation(self.linear(x, f"{name}.intermediate.dense"), config["activation"])
        y = self.add("Add", self.linear(y, f"{name}.output.dense"), x)
        return self.norm(y, f"{name}.output.LayerNorm", eps)


def bert(manifest, weights):
    config, graph = manifest["architecture"]["config"], Bert(weights)
    table = lambda name: graph.weights[f"embeddings.{name}_embeddings.weight"].astype(np.float32)
    positions = graph.constant(table("position") + table("token_type")[:1])
    time = graph.add("Shape", "ids", start=1, end=2)
    zero = graph.constant(np.array([0], np.int64))
    x = graph.add("Gather", graph.constant(table("word")), "ids")
    x = graph.add("Add", x, graph.add("Slice", positions, zero, time, zero))
    x = graph.norm(x, "embeddings.LayerNorm", config["layer_norm_eps"])
    for layer in range(config["layers"]):
        x = graph.block(x, f"encoder.layer.{layer}", config)
    if config["pooling"] == "mean":
        x = graph.add("ReduceMean", x, graph.constant(np.array([1], np.int64)), keepdims=0)
    else:
        x = graph.add("Gather", x, graph.constant(np.int64(0)), axis=1)
    if config["normalise"]:
        x = graph.add("LpNormalization", x, axis=-1, p=2)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "time"])
    return graph.model([ids], x, manifest["outputs"][0]["shape"])


class Gru(Graph):
    """One step: token ids [batch] and states [layers, batch, hidden] to logits."""

    def gates(self, name):
        """From the order of PyTorch (reset, update, new) to that of ONNX (update, reset, hidden)."""
        reset, update, new = np.split(self.weights[name].astype(np.float32), 3)
        return np.concatenate([update, reset, new])[None]

    def step(self, x, state, layer, hidden):
        w, r = (self.constant(self.gates(f"rnn.weight_{part}_l{layer}")) for part in ("ih", "hh"))
        biases = [self.gates(f"rnn.bias_{part}_l{layer}") for part in ("ih", "hh")]
        inputs = [x, w, r, self.constant(np.concatenate(biases, axis=1)), "", state]
        y = self.add("GRU", *inputs, hidden_size=hidden, linear_before_reset=1)
        return self.add("Squeeze", y, self.constant(np.array([1], np.int64)))


def gru(manifest, weights):
    config, graph = manifest["architecture"]["config"], Gru(weights)
    if config["cell"] != "gru":
        sys.exit(f"{manifest['name']}: a cell of {config['cell']} is not known here: expected gru")
    layers, hidden = config.get("layers", 1), config["hidden"]
    x = graph.add("Gather", graph.weight("embedding.weight"), "tokens")
    x = graph.add("Unsqueeze", x, graph.constant(np.array([0], np.int64)))
    for layer in range(layers):
        place = [graph.constant(np.array([at], np.int64)) for at in (layer, layer + 1, 0)]
        x = graph.step(x, graph.add("Slice", "state", *place), layer, hidden)
    x = graph.linear(graph.add("Squeeze", x, graph.constant(np.array([0], np.int64))), "head")
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch"])
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [layers, "batch", hidden])
    return graph.model([tokens, state], x, [weights["head.weight"].shape[0]])


def onnx_of(package):
    """The ONNX model of the package in a directory."""
    package = Path(package)
    manifest = tomllib.loads((package / "manifest.toml").read_text())
    weights = load_file(package / "weights.safetensors")
    architecture = manifest["architecture"]
    kind = architecture["config"].get("kind", architecture["name"])
    writers = {"cnn": cnn, "bert": bert, "gru": gru}
    if kind not in writers:
        sys.exit(f"{package}: {kind} is not known here: expected one of {', '.join(writers)}")
    model = writers[kind](manifest, weights)
    onnx.checker.check_model(model)
    return model
