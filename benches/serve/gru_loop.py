"""A package's GRU as one ONNX graph that reads a prompt and generates greedily: a step loop without Python in it.

The steps are written out, with the embedding folded into the input gates: in batches ONNX Runtime is faster so than with
its own GRU inside the loop, and as fast alone.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from onnx_of import OPSET, Gru

INT, FLOAT, BOOL = TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL


class Generator(Gru):
    """Nodes are added to the graph around the loop or, while `body` runs, to that of the loop."""

    def __init__(self, weights, hidden):
        super().__init__({name: values.astype(np.float32) for name, values in weights.items()})
        self.hidden, self.made = hidden, 0
        self.zero = self.constant(np.array([0], np.int64))
        self.head = self.constant(self.weights["head.weight"].T), self.weight("head.bias")

    def add(self, kind, *inputs, outputs=1, **attributes):
        """One name, or a list of several: a loop's body may not use those of the graph around it again."""
        names = [f"v{self.made + at}" for at in range(outputs)]
        self.made += outputs
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names if outputs > 1 else names[0]

    def best(self, state):
        """The likeliest token [batch] after a state [batch, hidden]."""
        return self.add("ArgMax", self.add("Gemm", state, *self.head), axis=-1, keepdims=0)

    def prompt(self):
        """The state after the prompt."""
        x = self.add("Gather", self.weight("embedding.weight"), "prompt")
        biases = np.concatenate([self.gates(f"rnn.bias_{part}_l0") for part in ("ih", "hh")], axis=1)
        gates = [self.constant(self.gates(f"rnn.weight_{part}_l0")) for part in ("ih", "hh")]
        inputs = [self.add("Transpose", x, perm=[1, 0, 2]), *gates, self.constant(biases)]
        _, state = self.add("GRU", *inputs, outputs=2, hidden_size=self.hidden, linear_before_reset=1)
        return self.add("Squeeze", state, self.zero)

    def step(self, token, state):
        """The state after a token (Cho et al. 2014, with the reset after the product as PyTorch has it)."""
        hidden, weights = self.hidden, self.weights
        table = weights["embedding.weight"] @ weights["rnn.weight_ih_l0"].T + weights["rnn.bias_ih_l0"]
        table[:, : 2 * hidden] += weights["rnn.bias_hh_l0"][: 2 * hidden]
        parts = self.constant(np.array([2 * hidden, hidden], np.int64))
        x = self.add("Split", self.add("Gather", self.constant(table), token), parts, outputs=2, axis=-1)
        h = self.add("MatMul", state, self.constant(weights["rnn.weight_hh_l0"].T))
        h = self.add("Split", h, parts, outputs=2, axis=-1)
        gates = self.add("Sigmoid", self.add("Add", x[0], h[0]))
        reset, update = self.add("Split", gates, outputs=2, axis=-1, num_outputs=2)
        h = self.add("Add", h[1], self.constant(weights["rnn.bias_hh_l0"][2 * hidden :]))
        new = self.add("Tanh", self.add("Add", x[1], self.add("Mul", reset, h)))
        return self.add("Add", new, self.add("Mul", update, self.add("Sub", state, new)))

    def body(self):
        """One turn: a state gives a token and the next state."""
        around, self.nodes = self.nodes, []
        token = self.best("state")
        after, again = self.step(token, "state"), self.add("Identity", "go_on")
        value, shape = helper.make_tensor_value_info, ["batch", self.hidden]
        inputs = [value("turn", INT, []), value("go_on", BOOL, None), value("state", FLOAT, shape)]
        outputs = [value(again, BOOL, None), value(after, FLOAT, shape), value(token, INT, ["batch"])]
        body = helper.make_graph(self.nodes, "step", inputs, outputs)
        self.nodes = around
        return body


def gru_loop(package, count):
    """The ONNX model: `prompt` [batch, time] of token ids to `tokens` [count, batch]."""
    package = Path(package)
    config = tomllib.loads((package / "manifest.toml").read_text(encoding="utf-8"))["architecture"]["config"]
    if config["cell"] != "gru" or config.get("layers", 1) != 1:
        sys.exit(f"{package}: expected a network of one layer of cell gru")
    graph = Generator(load_file(package / "weights.safetensors"), config["hidden"])
    turns, go_on = graph.constant(np.int64(count - 1)), graph.constant(np.array(True))
    state, body = graph.prompt(), graph.body()
    # The last token needs no state after it.
    state, tokens = graph.add("Loop", turns, go_on, state, outputs=2, body=body)
    last = graph.add("Unsqueeze", graph.best(state), graph.zero)
    graph.nodes.append(helper.make_node("Concat", [tokens, last], ["tokens"], axis=0))
    prompt = helper.make_tensor_value_info("prompt", INT, ["batch", "time"])
    result = helper.make_tensor_value_info("tokens", INT, [count, "batch"])
    whole = helper.make_graph(graph.nodes, "generation", [prompt], [result], graph.constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model
