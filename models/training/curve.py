"""Measures the trade of utility against identity over many trial policies, and writes the rows of the curve.

Usage: curve.py --voc DIR --voc DIR --people DIR [--people DIR] --work FOLDER --out ROWS.json [--evaluation BINARY]
       [--points models/training/points.json] [--jobs 2] [--repeats 2]
Each point is redacted by the product, trained afresh, judged by grouped cross-validation on the same faces, and attacked.
What is in the work folder is not computed again: a product that redacts otherwise wants another folder. `evaluation curve --rows ROWS.json` draws it and applies the rule.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import pathlib
import subprocess

import numpy as np

import measure
from network import CLEAR, read

# Under solid fill the face is classified before it is filled: nothing but the answer leaves.
SOLID, BEFORE_FILLING = "--policy solid", " ".join(CLEAR)
SEED, STEPS, FOLDS, DRAWS = 7, 1000, 3, 3
# Under solid fill an answer leaves, one of so many (fog-node/privacy/src/coarse.rs); beside cells or answer the detector's
# score in quarters.
ANSWERS, SCORES = 14, 5
# Pixels that one person may change, and widths of faces, for epsilon as Fan 2018 defines it.
CHANGED, WIDTHS = 16, (32, 64, 128)


def cells_of(grid):
    rows, columns = grid.split("x")
    return int(rows) * int(columns)


def chosen(arguments):
    """The choice as `evaluation` takes it, with its defaults."""
    options = argparse.ArgumentParser()
    options.add_argument("--grid", required=True)
    options.add_argument("--noise", type=int, default=0)
    options.add_argument("--quantum", type=int, default=8)
    options.add_argument("--luma")
    options.add_argument("--chroma")
    options.add_argument("--chroma-noise", type=int, default=0)
    options.add_argument("--chroma-quantum", type=int, default=2)
    options.add_argument("--centred", action="store_true")
    return options.parse_args(arguments.split())


def planes_of(arguments):
    """Planes that leave as (cells, noise, quantum, how many such planes, how often a pixel counts)."""
    if arguments == SOLID:
        return []
    of = chosen(arguments)
    # Centred cells depend on a pixel twice: by their own mean, and all together by the face's as much again.
    times = 2 if of.centred else 1
    if of.luma:
        return [(cells_of(of.luma), of.noise, of.quantum, 1, times),
                (cells_of(of.chroma or of.grid), of.chroma_noise, of.chroma_quantum, 2, times)]
    return [(cells_of(of.grid), of.noise, of.quantum, 3, times)]


def bits(planes):
    if not planes:
        return math.log2(ANSWERS * SCORES)
    return math.log2(SCORES) + sum(n * cells * math.log2(256 / quantum) for cells, _, quantum, n, _ in planes)


def epsilon(planes, width):
    """255 m / (area of a cell * b), summed over planes, and the 256th of a level by which each cell's mean is rounded; a face is
    1.3 times as high as wide. None: unbounded."""
    if not planes or any(noise == 0 for _, noise, _, _, _ in planes):
        return None
    return sum(times * n * (255 * CHANGED * cells / (1.3 * width * width) + min(cells, CHANGED) / 256) / noise
               for cells, noise, _, n, times in planes)


def paired(answers, reference, seed=1, repeats=500):
    """95% of F1-2-all minus the reference's on the same looks, by bootstrap over pictures."""
    random = np.random.default_rng(seed)
    assert np.array_equal(answers["stem"], reference["stem"]), "looks at other faces cannot be paired"
    rows = [np.flatnonzero(answers["stem"] == s) for s in np.unique(answers["stem"])]
    of = lambda a, at: measure.f1s(a["kind"][at], a["p"][at])["f1_2_all"]
    gains = []
    for _ in range(repeats):
        at = np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))])
        gains.append(of(answers, at) - of(reference, at))
    return [float(q) for q in np.quantile(gains, (0.025, 0.975))]


def file_of(options, arguments):
    return options.work / arguments.replace("--", "").replace(" ", "-")


def utility(options, point):
    """Cross-validated answers of a network for this policy, on the detector's boxes of 32 px and more."""
    arguments = BEFORE_FILLING if point["arguments"] == SOLID else point["arguments"]
    file = file_of(options, arguments)
    answers, cells = file.with_name(file.name + ".npz"), file.with_name(file.name + ".ndjson")
    if not answers.exists():
        voc = [part for folder in options.voc for part in ("--voc", folder)]
        subprocess.run([str(part) for part in (options.evaluation, "cells", *voc, *arguments.split(), "--draws", DRAWS,
                                               "--found", options.work / "found.json", "--out", cells)],
                       check=True, stderr=subprocess.DEVNULL)
        data = read(cells, tuple(int(side) for side in chosen(arguments).grid.split("x")))
        cells.unlink()
        with measure.processes(1) as pool:
            vary = arguments == BEFORE_FILLING
            score = measure.CrossValidation(pool, data, SEED, FOLDS, steps=STEPS, vary=vary).scores(data)
        p = measure.softmax(score, measure.temperature_of(data, score, SEED))
        at = np.flatnonzero((data["view"] == "detected") & (data["kind"] < 3) & (data["side"] >= measure.REPORTED_PX))
        np.savez(answers, p=p[at], kind=data["kind"][at], stem=data["stem"][at])
        print(point["name"], "learned", flush=True)
    return dict(np.load(answers))


def attacked(options, folder, points):
    """What re-identification says of every point, for one set of people: one run for all that are missing."""
    name = pathlib.Path(folder).name
    report = lambda point: file_of(options, point["arguments"]).with_suffix(f".{name}.{options.repeats}.json")
    missing = [point for point in points if not report(point).exists()]
    if missing:
        wanted = options.work / f"{name}.points.json"
        wanted.write_text(json.dumps(missing))
        command = [options.evaluation, "reidentify", "--people", folder, "--points", wanted,
                   "--repeats", options.repeats, "--json"]
        run = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        for point, line in zip(missing, run.stdout):
            report(point).write_text(line)
            print(point["name"], "attacked on", name, flush=True)
        if run.wait():
            raise SystemExit(f"{command} failed")
    return [json.loads(report(point).read_text()) for point in points]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--evaluation", default="target/release/evaluation")
    options.add_argument("--voc", action="append", required=True)
    options.add_argument("--people", action="append", required=True)
    options.add_argument("--work", type=pathlib.Path, required=True)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--points", type=pathlib.Path, default=pathlib.Path("models/training/points.json"))
    options.add_argument("--jobs", type=int, default=2, help="networks that learn at once")
    options.add_argument("--repeats", type=int, default=2)
    options = options.parse_args()
    options.work.mkdir(exist_ok=True)
    points = json.loads(options.points.read_text())
    attacks = {pathlib.Path(folder).name: attacked(options, folder, points) for folder in options.people}
    # The first alone: it finds the faces for all.
    reference = utility(options, points[0])
    # Processes of their own, since a network learns on one thread.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        answers = list(pool.map(utility, [options] * len(points), points))
    rows = []
    for number, (point, answered) in enumerate(zip(points, answers)):
        found = measure.with_intervals(answered["kind"], answered["p"], answered["stem"], SEED)
        planes = planes_of(point["arguments"])
        rows.append(point | {
            "bits": bits(planes), "epsilon": {str(width): epsilon(planes, width) for width in WIDTHS},
            "utility": {key: found[key] for key in ("f1_2", "f1_2_all", "f1_2_all_interval", "f1_3", "ece")},
            "loss_interval": paired(answered, reference),
            "attacks": {name: reports[number] for name, reports in attacks.items()}})
    options.out.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
