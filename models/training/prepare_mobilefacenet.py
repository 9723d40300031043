"""Prepare MobileFaceNet once, offline: the packaged network is TFLite and takes two faces at a time, rows of pixels; here it
is ONNX and takes one, planes of red, green, blue. Nothing is retrained. Usage: prepare_mobilefacenet.py IN.tflite OUT.onnx
(needs the packages `tflite2onnx`, `onnx`)."""

import sys

import numpy
import onnx
import tflite2onnx


def main(source: str, target: str) -> None:
    tflite2onnx.convert(source, target)
    model = onnx.load(target)
    graph = model.graph
    (picture,), (embedding,), last = graph.input, graph.output, graph.node[-1]
    sides = [[side.dim_value for side in value.type.tensor_type.shape.dim] for value in (picture, embedding)]
    assert sides == [[2, 3, 112, 112], [2, 192]] and last.op_type == "Reshape" and last.output[0] == embedding.name, sides
    shape = next(weight for weight in graph.initializer if weight.name == last.input[1])
    shape.CopyFrom(onnx.numpy_helper.from_array(numpy.array([1, 192], numpy.int64), shape.name))
    # The converter writes the weights in another order each time.
    weights = sorted(graph.initializer, key=lambda weight: weight.name)
    info = onnx.helper.make_tensor_value_info
    inputs = [info(picture.name, onnx.TensorProto.FLOAT, [1, 3, 112, 112])]
    outputs = [info(embedding.name, onnx.TensorProto.FLOAT, [1, 192])]
    prepared = onnx.helper.make_graph(list(graph.node), "mobilefacenet", inputs, outputs, weights)
    result = onnx.helper.make_model(prepared, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    onnx.checker.check_model(result)
    with open(target, "wb") as out:
        out.write(result.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
