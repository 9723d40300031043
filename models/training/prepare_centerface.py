"""Prepare CenterFace once, offline: weights are no longer inputs (so that a runtime folds them), height, width and batch
are free. Nothing is retrained. Usage: prepare_centerface.py IN.onnx OUT.onnx (needs the package `onnx`)."""

import sys

import onnx


def main(source: str, target: str) -> None:
    model = onnx.load(source)
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        for axis, name in ((0, "batch"), (2, f"{value.name}_height"), (3, f"{value.name}_width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    with open(target, "wb") as out:
        out.write(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
