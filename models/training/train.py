"""The one command behind the shipped mask classifier: cells, cross-validation, network, figures.

Usage: train.py --voc DIR --voc DIR [--evaluation target/release/evaluation] [--out models/weights]
       [--policy solid] [--work FOLDER] [--seed 7] [--steps 1800] [--folds 3] [--jobs 2]
The product redacts every face (`evaluation cells`), networks are cross-validated by groups of near-duplicate pictures, and
the one that saw all of them is written with its sidecar, its figures, its confusion matrix and the tables of the card.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import onnxruntime
from blake3 import blake3

import card
import measure
from export import halved, model
from network import TEACHERS, fit, perceptron, probabilities, read, take, teachers

# Clear faces as cells: almost no privacy. The same network on them tells the price of privacy.
CLEAR = {"grid": (12, 12), "arguments": ["--grid", "12x12", "--quantum", "1"], "draws": 2, "folds": 3, "steps": 600}
# What a policy's classifier reads. Under solid fill it reads clear cells, before the face is covered.
SOLID = (12, 12)
POLICIES = {"solid": (SOLID, ["--grid", f"{SOLID[0]}x{SOLID[1]}", "--noise", "0", "--quantum", "1"]),
            # Until the binary knows the policy by its new name it is called by the old one.
            "cells": ((8, 1), ["--policy", "default"]), "strict": ((8, 1), ["--policy", "strict"])}
NAMES = {"solid": "mask-solid", "cells": "mask-8x1", "strict": "mask-strict"}


def cells(options, arguments, draws, grid, work):
    """The looks that the product makes of the pictures."""
    out = work / ("cells-" + "-".join(arguments).replace("--", "") + ".ndjson")
    voc = [part for folder in options.voc for part in ("--voc", folder)]
    if not out.exists():
        subprocess.run([str(part) for part in (options.evaluation, "cells", *voc, *arguments, "--draws", draws,
                                               "--found", work / "found.json", "--out", out)], check=True)
    return read(out, grid)


def judged(data, options, score):
    """Temperature, answers and their figures, of held-out scores."""
    temperature = measure.temperature_of(data, score, options.seed)
    p = measure.softmax(score, temperature)
    return temperature, p, measure.report(data, p, options.seed)


def written(options, network, temperature, data, grid, matrix):
    """ONNX with its sidecar and its confusion matrix; what the runtime answers must be what the network answers."""
    network = halved(network)
    content = model(network, temperature, grid)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    some = take(data, slice(0, 500))
    got = session.run(None, {"cells": some["cells"], "log_box": some["log_box"]})[0]
    here = probabilities([network], some["cells"], some["log_box"], temperature)
    assert np.abs(got - np.asarray(here)).max() < 1e-4, "the exported network answers otherwise"
    path = options.out / f"{NAMES[options.policy]}.onnx"
    path.write_bytes(content)
    sidecar = {"name": path.stem, "digest": blake3(content).hexdigest(), "rows": grid[0], "cols": grid[1],
               "policy": options.policy, "min_face_px": measure.UNCERTAIN_PX}
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    held_out = {"digest": sidecar["digest"], "answers": ["mask", "no_mask", "incorrect", "not_a_face"],
                "truths": ["mask", "no_mask", "incorrect"], "faces": matrix}
    path.with_suffix(".confusion.json").write_text(json.dumps(held_out) + "\n")
    return path


def run(options, work) -> None:
    grid, arguments = POLICIES[options.policy]
    data = cells(options, arguments, options.draws, grid, work)
    figures = {"policy": options.policy, "seed": options.seed, "steps": options.steps, "folds": options.folds}
    with measure.processes(options.jobs) as pool:
        # What is judged are networks like the shipped one, without teachers: those cost three times as much and gain little.
        own = measure.cross_validation(pool, data, options.seed, options.folds, steps=options.steps)
        taught = teachers(pool, data, options.seed + 50, options.steps, TEACHERS)
        other = measure.cross_validation(pool, data, options.seed, options.folds, steps=options.steps, shape=perceptron)
        taught = pool.submit(fit, data, options.seed + 50, options.steps, teachers=[one.result() for one in taught])
        figures["temperature"], p, figures["network"] = judged(data, options, own())
        figures["perceptron"] = judged(data, options, other())[2]
        path = written(options, taught.result(), figures["temperature"], data, grid, measure.confusion(data, p))
        # Written before what takes longest, so that nothing is lost with it.
        path.with_suffix(".figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        if not options.no_clear:
            data = cells(options, CLEAR["arguments"], CLEAR["draws"], CLEAR["grid"], work)
            clear = measure.cross_validation(pool, data, options.seed, CLEAR["folds"], steps=CLEAR["steps"])
            figures["clear"] = judged(data, options, clear())[2]
    path.with_suffix(".figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    card.renew(options.out / "MODEL_CARD.md", figures)
    print(card.tables(figures))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--voc", action="append", required=True)
    options.add_argument("--evaluation", default="target/release/evaluation")
    options.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models/weights"))
    options.add_argument("--policy", choices=POLICIES, default="solid")
    options.add_argument("--work", type=pathlib.Path, help="folder that keeps what was redacted")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--steps", type=int, default=1800)
    options.add_argument("--folds", type=int, default=3)
    options.add_argument("--draws", type=int, default=6)
    options.add_argument("--jobs", type=int, default=2, help="networks that learn at once; they are the same with any number")
    options.add_argument("--no-clear", action="store_true", help="leave out the same network on clear faces")
    options = options.parse_args()
    if options.work:
        options.work.mkdir(exist_ok=True)
        run(options, options.work)
        return
    with tempfile.TemporaryDirectory() as work:
        run(options, pathlib.Path(work))


if __name__ == "__main__":
    main()
