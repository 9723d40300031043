"""Prepare UltraFace once, offline: the packaged network takes 320x240 only and decodes its anchors itself; here it ends at
its eight head convolutions (scores and corners at strides 8, 16, 32, 64), and height and width are free. Nothing is
retrained. Usage: prepare_ultraface.py IN.onnx OUT.onnx (needs the package `onnx`)."""

import sys

import onnx


def main(source: str, target: str) -> None:
    model = onnx.load(source)
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    # Each head is a convolution whose output is transposed and nothing else: in file order, scores then corners.
    heads = [node.input[0] for node in graph.node if node.op_type == "Transpose"]
    assert len(heads) == 8 and all(makers[head].op_type == "Conv" for head in heads), heads
    needed, queue = set(), list(heads)
    while queue:
        node = makers.get(queue.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            queue.extend(node.input)
    nodes = [node for node in graph.node if node.output[0] in needed]
    used = {name for node in nodes for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in used]
    names = {weight.name for weight in weights}
    picture = next(value for value in graph.input if value.name not in names)
    sides = ["batch", 3, "height", "width"]
    info = onnx.helper.make_tensor_value_info
    outputs = []
    for head, stride, kind in zip(heads, (8, 8, 16, 16, 32, 32, 64, 64), ("scores", "corners") * 4, strict=True):
        name = f"{kind}_{stride}"
        for node in nodes:
            node.output[:] = [name if value == head else value for value in node.output]
        outputs.append(info(name, onnx.TensorProto.FLOAT, ["batch", None, f"height_{stride}", f"width_{stride}"]))
    inputs = [info(picture.name, onnx.TensorProto.FLOAT, sides)]
    prepared = onnx.helper.make_graph(nodes, "ultraface", inputs, outputs, weights)
    result = onnx.helper.make_model(prepared, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    onnx.checker.check_model(result)
    with open(target, "wb") as out:
        out.write(result.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
