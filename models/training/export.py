"""Owns how a network is written as ONNX: the same answers as `network.probabilities`, node by node, and nothing twice.

A face and its mirror image go through the network as two faces of one batch. Weights are stored in 8 bits, with a scale for
each output, and computed with in single precision, so that no processor rounds sums of its own; a seed and one thread give
the same bytes each time.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR = 17, 9


class Graph:
    """Nodes and constants as they are added; each value has a number as its name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, kind, *inputs, name=None, **attributes):
        """A node; arrays among its inputs become constants. Gives the name of its output."""
        names = [x if isinstance(x, str) else self.constant(np.asarray(x)) for x in inputs]
        output = name or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, matrix, arranged=lambda integers: integers, sides=(-1,)):
        """Weights of 8 bits in the order that their node takes them, and the sides of what scales them there. Not
        DequantizeLinear: runtimes take that for leave to compute in 8 bits too."""
        integers, scale = eight_bits(matrix)
        return self.add("Mul", self.add("Cast", arranged(integers), to=TensorProto.FLOAT), scale.reshape(sides))


def eight_bits(matrix):
    """Weights as whole numbers to 127 either way, and the scale of each column."""
    scale = np.maximum(abs(matrix).max(0), 1e-8).astype(np.float32) / np.float32(127)
    return np.round(matrix / scale).astype(np.int8), scale


def stored(parameters):
    """A network as it is after it was stored."""
    back = lambda integers, scale: integers.astype(np.float32) * scale
    return {name: (back(*eight_bits(np.asarray(weights))), np.asarray(bias)) for name, (weights, bias) in parameters.items()}


def whole(*numbers):
    return np.array(numbers, np.int64)


def single(*numbers):
    return np.array(numbers, np.float32)


def features(graph, cells, log_box, rows):
    """What `network.features` computes."""
    x = graph.add("Div", cells, single(255))
    colours = np.array([[0.299, 0.587, 0.114], [-0.598, -1.174, 1.772], [1.402, -1.174, -0.228]], np.float32)
    x = graph.add("MatMul", x, colours.T)
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, axes=[1, 2]))
    power = graph.add("ReduceMean", graph.add("Mul", centred, centred), axes=[1, 2, 3])
    spread = graph.add("Sqrt", graph.add("Add", power, single(1e-3)))
    top = graph.add("Slice", x, whole(0), whole(max(1, rows // 4)), whole(1))
    beside = graph.add("Sub", x, graph.add("ReduceMean", top, axes=[1, 2]))
    plane = graph.add("Mul", graph.add("Slice", x, whole(0), whole(1), whole(3)), single(0))
    row = graph.add("Add", plane, np.linspace(-1, 1, rows, dtype=np.float32).reshape(1, rows, 1, 1))
    size = graph.add("Reshape", graph.add("Sub", log_box, single(3.5)), whole(-1, 1, 1, 1))
    box = graph.add("Add", plane, size)
    return graph.add("Concat", x, graph.add("Div", centred, spread), beside, row, box, axis=-1)


def convolution(graph, x, weights, bias, side):
    arranged = lambda integers: integers.reshape(side, side, -1, weights.shape[-1]).transpose(3, 2, 0, 1)
    kernel, edge = graph.weights(weights, arranged, (-1, 1, 1, 1)), side // 2
    return graph.add("Conv", x, kernel, bias, pads=[edge] * 4)


def block(graph, x, one, other):
    inner = graph.add("Relu", convolution(graph, x, *one, 3))
    return graph.add("Relu", graph.add("Add", x, convolution(graph, inner, *other, 3)))


def scores(graph, parameters, cells, log_box, rows):
    """What `network.logits` computes."""
    of = parameters
    x = features(graph, cells, log_box, rows)
    if "first" in of:
        x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
        x = graph.add("SpaceToDepth", x, blocksize=2) if "squeeze" in of else x
        x = graph.add("Relu", convolution(graph, x, *of["first"], 3))
        x = block(graph, block(graph, x, of["a"], of["b"]), of["c"], of["d"])
        x = graph.add("Relu", convolution(graph, x, *of["squeeze"], 1)) if "squeeze" in of else x
        x = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    x = graph.add("Flatten", x)
    dense = lambda x, weights, bias: graph.add("Gemm", x, graph.weights(weights), bias)
    return dense(graph.add("Relu", dense(x, *of["dense"])), *of["out"])


def model(parameters, temperature, grid):
    """The network and its temperature as ONNX bytes."""
    graph, classes = Graph(), parameters["out"][1].size
    mirrored = graph.add("Slice", "cells", whole(-1), whole(-(2**31)), whole(2), whole(-1))
    cells = graph.add("Concat", "cells", mirrored, axis=0)
    log_box = graph.add("Concat", "log_box", "log_box", axis=0)
    both = graph.add("Reshape", scores(graph, parameters, cells, log_box, grid[0]), whole(2, -1, classes))
    score = graph.add("ReduceMean", both, axes=[0], keepdims=0)
    graph.add("Softmax", graph.add("Div", score, single(temperature)), name="probabilities", axis=-1)
    tensor = lambda name, *sides: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["faces", *sides])
    made = helper.make_graph(graph.nodes, "mask_cells", [tensor("cells", *grid, 3), tensor("log_box", 1)],
                             [tensor("probabilities", classes)], graph.constants)
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)
