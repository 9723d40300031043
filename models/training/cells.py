"""Cells of annotated faces, one JSON object a line, for train.py.

This imitates the fog's default redaction (8 rows by 2 columns of means over the box, discrete Laplace noise) closely
enough for a first classifier. It is to be replaced by the exporter of the evaluation crate, which runs the product's own
code and writes the same lines: {"stem", "group", "face", "class", "side", "w", "h", "cells"}: class 0 mask, 1 no mask,
2 incorrect; side the shorter side of the annotated box in pixels; w and h the sides of the box under the cells; cells
rows*cols*3 integers, row by row, red green blue. The looks at one face differ in jitter and noise.

Usage: cells.py --voc DIR [--voc DIR] --out FILE [--draws 16] [--jitter 0.06] [--seed 1]
"""

import argparse
import csv
import json
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

ROWS, COLS, SCALE, SNAP = 8, 2, 8.0, 4
CLASSES = {"with_mask": 0, "without_mask": 1, "mask_weared_incorrect": 2}
SIDE_MIN = 10


def faces(annotation: pathlib.Path):
    for item in ElementTree.parse(annotation).getroot().iter("object"):
        box = item.find("bndbox")
        left, top, right, bottom = (float(box.find(k).text) for k in ("xmin", "ymin", "xmax", "ymax"))
        if min(right - left, bottom - top) >= SIDE_MIN:
            yield CLASSES[item.find("name").text], left, top, right - left, bottom - top


def discrete_laplace(random: np.random.Generator, size: int) -> np.ndarray:
    keep = 1 - np.exp(-1 / SCALE)
    return random.geometric(keep, size) - random.geometric(keep, size)


def draw(integral, random, box, jitter):
    """One look of a detector that is off by `jitter` of the box in place and size."""
    left, top, w, h = box
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    shift, grow = random.normal(0, jitter, 2), np.exp(random.normal(0, jitter, 2)) * random.uniform(1.0, 1.1)
    cx, cy = left + w / 2 + shift[0] * w, top + h / 2 + shift[1] * h
    w, h = w * grow[0], h * grow[1]
    edges = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
    if random.uniform() < 0.5:
        edges = np.concatenate([np.floor(edges[:2] / SNAP), np.ceil(edges[2:] / SNAP)]) * SNAP
    left, right = np.clip(np.round(edges[[0, 2]]), 0, width).astype(int)
    top, bottom = np.clip(np.round(edges[[1, 3]]), 0, height).astype(int)
    if right - left < COLS or bottom - top < ROWS:
        return None
    xs = left + (right - left) * np.arange(COLS + 1) // COLS
    ys = top + (bottom - top) * np.arange(ROWS + 1) // ROWS
    corner = integral[np.ix_(ys, xs)]
    sums = corner[1:, 1:] - corner[1:, :-1] - corner[:-1, 1:] + corner[:-1, :-1]
    means = sums / (np.diff(ys)[:, None, None] * np.diff(xs)[None, :, None])
    noisy = np.rint(means).astype(int).ravel() + discrete_laplace(random, ROWS * COLS * 3)
    return int(right - left), int(bottom - top), np.clip(noisy, 0, 255).tolist()


def groups(folders) -> dict:
    known = {}
    for folder in folders:
        index = folder / "index.csv"
        if index.exists():
            known |= {row["stem"]: row["dup_group"] for row in csv.DictReader(index.open())}
    return known


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--voc", type=pathlib.Path, action="append", required=True)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--draws", type=int, default=16)
    options.add_argument("--jitter", type=float, default=0.06)
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    random, known = np.random.default_rng(options.seed), groups(options.voc)
    with options.out.open("w") as out:
        for folder in options.voc:
            pictures = {path.stem: path for path in (folder / "images").iterdir()}
            for annotation in sorted((folder / "annotations").glob("*.xml")):
                stem = annotation.stem
                found = list(faces(annotation))
                if stem not in pictures or not found:
                    continue
                rgb = np.asarray(Image.open(pictures[stem]).convert("RGB"), dtype=np.float64)
                integral = np.pad(rgb.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
                for face, (kind, *box) in enumerate(found):
                    for _ in range(options.draws):
                        look = draw(integral, random, box, options.jitter)
                        if look:
                            row = {"stem": f"{folder.name}/{stem}", "group": known.get(stem, stem), "face": face}
                            row |= {"class": kind, "side": min(box[2:]), "w": look[0], "h": look[1]}
                            row |= {"cells": look[2]}
                            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
