"""Measures the trade of utility against identity over many trial policies, and writes the rows of the curve.

Usage: curve.py --evaluation BINARY --voc DIR --voc DIR --people DIR [--people DIR] --work FOLDER --out ROWS.json
Each point is redacted by the product, trained afresh, judged by grouped cross-validation on the same faces, and attacked.
What is in the work folder is not computed again. `evaluation curve --rows ROWS.json` draws it and applies the rule.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

import numpy as np

from train import figures

# Name: grid, noise, quantum; then for colour apart: blocks of brightness, noise and quantum of colour differences.
POINTS = {
    "8x8, 0": ("8x8", 0, 8),
    "8x8, 8": ("8x8", 8, 8),
    "6x6, 16": ("6x6", 16, 8),
    "8x2, 0": ("8x2", 0, 8),
    "8x2, 8": ("8x2", 8, 8),
    "8x2, 16": ("8x2", 16, 8),
    "8x2, 32": ("8x2", 32, 8),
    "8x1, 8": ("8x1", 8, 8),
    "8x1, 16": ("8x1", 16, 8),
    "colour 8x2, 4; brightness 8x2, 16": ("8x2", 16, 8, "8x2", 4, 4),
    "colour 8x2, 4; brightness 8x1, 16": ("8x2", 16, 8, "8x1", 4, 4),
    "colour 8x2, 2; brightness 8x1, 16": ("8x2", 16, 8, "8x1", 2, 2),
    "colour 8x2, 2; brightness 8x1, 24": ("8x2", 24, 8, "8x1", 2, 2),
    "colour 8x2, 2; brightness 4x1, 16": ("8x2", 16, 8, "4x1", 2, 2),
    "colour 8x1, 2; brightness 8x1, 16": ("8x1", 16, 8, "8x1", 2, 2),
}
REFERENCE = "8x8, 0"
SEED, STEPS, FOLDS, DRAWS, REPEATS = 7, 1500, 3, 4, 2
# Pixels that one person may change, and widths of faces, for epsilon as Fan 2018 defines it.
CHANGED, WIDTHS = 16, (32, 64, 128)


def arguments(grid, noise, quantum, luma=None, chroma_noise=0, chroma_quantum=0):
    given = ["--grid", grid, "--noise", noise, "--quantum", quantum]
    if luma:
        given += ["--luma", luma, "--chroma-noise", chroma_noise, "--chroma-quantum", chroma_quantum]
    return [str(value) for value in given]


def cells_of(grid):
    rows, columns = grid.split("x")
    return int(rows) * int(columns)


def released(grid, noise, quantum, luma=None, chroma_noise=0, chroma_quantum=0):
    """Planes as (cells, noise, quantum, how many such planes)."""
    if luma:
        return [(cells_of(luma), noise, quantum, 1), (cells_of(grid), chroma_noise, chroma_quantum, 2)]
    return [(cells_of(grid), noise, quantum, 3)]


def bits(planes):
    return sum(n * cells * math.log2(256 / quantum) for cells, _, quantum, n in planes)


def epsilon(planes, width):
    """255 m / (area of a cell * b), summed over planes; a face is 1.3 times as high as wide. None: unbounded."""
    if any(noise == 0 for _, noise, _, _ in planes):
        return None
    return sum(n * 255 * CHANGED * cells / (1.3 * width * width * noise) for cells, noise, _, n in planes)


def paired(answers, reference, seed=1, repeats=1000):
    """95% of F1-2-all minus the reference's on the same looks, by bootstrap over pictures."""
    random = np.random.default_rng(seed)
    rows = {s: np.flatnonzero(answers["stem"] == s) for s in np.unique(answers["stem"])}
    stems, gains = list(rows), []
    of = lambda a, at: figures(a["kind"][at], a["p"][at])["f1_2_all"]
    for _ in range(repeats):
        at = np.concatenate([rows[s] for s in random.choice(stems, len(stems))])
        gains.append(of(answers, at) - of(reference, at))
    return [float(q) for q in np.quantile(gains, (0.025, 0.975))]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--evaluation", required=True)
    options.add_argument("--voc", action="append", required=True)
    options.add_argument("--people", action="append", required=True)
    options.add_argument("--work", type=pathlib.Path, required=True)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--only", action="append", help="names of points; all without it")
    options = options.parse_args()
    options.work.mkdir(exist_ok=True)
    run = lambda *command, **kept: subprocess.run([str(c) for c in command], check=True, **kept)
    rows, reference = [], None
    for number, (name, point) in enumerate(POINTS.items()):
        if options.only and name not in options.only and name != REFERENCE:
            continue
        print(f"{name} ({number + 1} of {len(POINTS)})", flush=True)
        file = options.work / name.replace(" ", "").replace(";", "+")
        answers, cells = file.with_name(file.name + ".npz"), file.with_name(file.name + ".ndjson")
        if not answers.exists():
            voc = [part for folder in options.voc for part in ("--voc", folder)]
            run(options.evaluation, "cells", *voc, *arguments(*point), "--draws", DRAWS, "--out", cells)
            run(sys.executable, pathlib.Path(__file__).with_name("train.py"), "--cells", cells, "--grid", point[0],
                "--policy", "trial", "--seed", SEED, "--steps", STEPS, "--folds", FOLDS, "--answers", answers,
                stdout=subprocess.DEVNULL)
            cells.unlink()
        attacks = {}
        for folder in options.people:
            of = pathlib.Path(folder).name
            report = file.with_name(f"{file.name}.{of}.json")
            if not report.exists():
                said = run(options.evaluation, "reidentify", "--people", folder, *arguments(*point), "--repeats", REPEATS,
                           "--json", stdout=subprocess.PIPE)
                report.write_bytes(said.stdout)
            attacks[of] = json.loads(report.read_text())
        answered = dict(np.load(answers))
        reference = reference or answered
        utility = json.loads(str(answered["report"]))["32+"]
        planes = released(*point)
        rows.append({
            "name": name, "arguments": " ".join(arguments(*point)), "bits": bits(planes),
            "epsilon": {str(width): epsilon(planes, width) for width in WIDTHS},
            "utility": {key: utility[key] for key in ("f1_2", "f1_2_all", "f1_2_all_interval", "f1_3", "ece")},
            "loss_interval": paired(answered, reference), "attacks": attacks})
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
