"""The least time that a network can take on this machine: its operations over the speed of a matrix product, or the bytes of
its weights over the speed of memory where they do not stay in the cache, whichever is more. `benches/floors.rs` measures
both speeds.
"""

import math
from pathlib import Path

import onnx

CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


def cache_bytes():
    text = CACHE.read_text(encoding="utf-8").strip() if CACHE.exists() else "32768K"
    return int(text.rstrip("KM")) * (1 << (20 if text.endswith("M") else 10))


def shapes_of(model, inputs):
    """Sizes of every value, for inputs of these sizes."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for size, known in zip(value.type.tensor_type.shape.dim, inputs[value.name].shape):
            size.dim_value = known
    # Said by the writer for a batch of any size: they are inferred again.
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    values = [*inferred.value_info, *inferred.output, *inferred.input]
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
    return shapes | {constant.name: list(constant.dims) for constant in model.graph.initializer}


def operations(model, inputs):
    """Multiplications and additions. What a recurrent layer makes of an embedding is a table, and costs nothing."""
    shapes, count, embedded = shapes_of(model, inputs), 0, set()
    for node in model.graph.node:
        out = math.prod(shapes[node.output[0]])
        match node.op_type:
            case "Conv":
                count += 2 * out * math.prod(shapes[node.input[1]][1:])
            case "MatMul":
                count += 2 * out * shapes[node.input[0]][-1]
            case "GRU":
                _, gates, width = shapes[node.input[1]]
                reads = gates // 3 + (0 if node.input[0] in embedded else width)
                count += 2 * 3 * out * reads
            case "Gather":
                embedded.add(node.output[0])
    return count


def floor_us(model, inputs, speed):
    """`speed` says `gflops` and `gbytes_per_s`."""
    read = {name for node in model.graph.node if node.op_type != "Gather" for name in node.input}
    weights = sum(4 * math.prod(constant.dims) for constant in model.graph.initializer if constant.name in read)
    weights += sum(value.nbytes for value in inputs.values())
    times = [operations(model, inputs) / speed["gflops"] / 1e3]
    if weights > cache_bytes():
        times.append(weights / speed["gbytes_per_s"] / 1e3)
    return max(times)
