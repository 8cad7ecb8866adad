"""A network in Triton's Python backend, the only one in the wheel of nvidia-pytriton: one batch for all that wait."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

from networks import open_network


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.input, self.output = config["input"][0]["name"], config["output"][0]["name"]
        with open(config["parameters"]["subject"]["string_value"], encoding="utf-8") as file:
            subject = json.load(file)
        self.numbers = subject["input"]["datatype"] == "FP32"
        self.network = open_network(subject)

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        batch = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        answer = self.network.run(batch if self.numbers else batch.ravel())
        answer = answer if self.numbers or answer.ndim > 1 else answer[:, None]
        responses, at = [], 0
        for rows in map(len, inputs):
            tensor = pb_utils.Tensor(self.output, answer[at : at + rows])
            responses.append(pb_utils.InferenceResponse([tensor]))
            at += rows
        return responses
