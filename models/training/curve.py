"""Measures the trade of utility against identity over many trial policies, and writes the rows of the curve.

Usage: curve.py --voc DIR --voc DIR --people DIR [--people DIR] --work FOLDER --out ROWS.json [--evaluation BINARY]
Each point is redacted by the product, trained afresh, judged by grouped cross-validation on the same faces, and attacked.
What is in the work folder is not computed again. `evaluation curve --rows ROWS.json` draws it and applies the rule.
"""

import argparse
import json
import math
import pathlib
import subprocess

import numpy as np

import measure
from network import read

# Name: grid, noise, quantum; then for colour apart: blocks of brightness, noise and quantum of colour differences.
POINTS = {
    "8x8, 0": ("8x8", 0, 8),
    "8x2, 8 (default)": ("8x2", 8, 8),
    "8x1, 16 (strict)": ("8x1", 16, 8),
    "colour 8x4, 2; brightness 8x2, 16": ("8x4", 16, 8, "8x2", 2, 2),
    "colour 8x2, 2; brightness 8x1, 16": ("8x2", 16, 8, "8x1", 2, 2),
    "8x2, 16": ("8x2", 16, 8),
    "8x1, 8": ("8x1", 8, 8),
    "8x2, 0, classified before filling (solid)": ("8x2", 0, 1),
    "1x1, 0 (colour floor)": ("1x1", 0, 1),
}
REFERENCE = "8x8, 0"
# Of this one nothing but the answer leaves: an attacker sees grey.
SOLID = "8x2, 0, classified before filling (solid)"
SEED, STEPS, FOLDS, DRAWS, REPEATS = 7, 1000, 3, 3, 1
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


def paired(answers, reference, seed=1, repeats=500):
    """95% of F1-2-all minus the reference's on the same looks, by bootstrap over pictures."""
    random = np.random.default_rng(seed)
    assert np.array_equal(answers["stem"], reference["stem"]), "looks at other faces cannot be paired"
    rows = [np.flatnonzero(answers["stem"] == s) for s in np.unique(answers["stem"])]
    of = lambda a, at: measure.figures(a["kind"][at], a["p"][at])["f1_2_all"]
    gains = []
    for _ in range(repeats):
        at = np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))])
        gains.append(of(answers, at) - of(reference, at))
    return [float(q) for q in np.quantile(gains, (0.025, 0.975))]


def utility(options, file, point):
    """Cross-validated answers of a network for this policy, on the detector's boxes of 32 px and more."""
    answers, cells = file.with_name(file.name + ".npz"), file.with_name(file.name + ".ndjson")
    if not answers.exists():
        voc = [part for folder in options.voc for part in ("--voc", folder)]
        subprocess.run([str(part) for part in (options.evaluation, "cells", *voc, *arguments(*point), "--draws", DRAWS,
                                               "--found", options.work / "found.json", "--out", cells)], check=True)
        data = read(cells, tuple(int(side) for side in point[0].split("x")))
        score = measure.cross_validate(data, SEED, FOLDS, measure.single(STEPS))
        p = measure.softmax(score, measure.temperature_of(data, score, SEED))
        at = np.flatnonzero((data["view"] == "detected") & (data["kind"] < 3) & (data["side"] >= measure.REPORTED_PX))
        np.savez(answers, p=p[at], kind=data["kind"][at], stem=data["stem"][at])
        cells.unlink()
    return dict(np.load(answers))


def attacked(options, file, name, point):
    """What re-identification says of the policy, by set of people."""
    attacks = {}
    for folder in options.people:
        of = pathlib.Path(folder).name
        report = file.with_name(f"{file.name}.{of}.json")
        if not report.exists():
            policy = ["--policy", "solid"] if name == SOLID else arguments(*point)
            said = subprocess.run([options.evaluation, "reidentify", "--people", folder, *policy, "--repeats", str(REPEATS),
                                   "--json"], check=True, stdout=subprocess.PIPE)
            report.write_bytes(said.stdout)
        attacks[of] = json.loads(report.read_text())
    return attacks


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--evaluation", default="target/release/evaluation")
    options.add_argument("--voc", action="append", required=True)
    options.add_argument("--people", action="append", required=True)
    options.add_argument("--work", type=pathlib.Path, required=True)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options = options.parse_args()
    options.work.mkdir(exist_ok=True)
    rows, reference = [], None
    for number, (name, point) in enumerate(POINTS.items()):
        print(f"{name} ({number + 1} of {len(POINTS)})", flush=True)
        file = options.work / "-".join(str(part) for part in point)
        answered, attacks = utility(options, file, point), attacked(options, file, name, point)
        reference = reference or answered
        found = measure.with_intervals(answered["kind"], answered["p"], answered["stem"], SEED)
        planes = released(*point) if name != SOLID else []
        rows.append({
            "name": name, "arguments": "--policy solid" if name == SOLID else " ".join(arguments(*point)),
            "bits": bits(planes), "epsilon": {str(width): epsilon(planes, width) for width in WIDTHS},
            "utility": {key: found[key] for key in ("f1_2", "f1_2_all", "f1_2_all_interval", "f1_3", "ece")},
            "loss_interval": paired(answered, reference), "attacks": attacks})
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
