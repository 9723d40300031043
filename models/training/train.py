"""The one command behind the shipped mask classifiers: cells, cross-validation, networks, figures.

Usage: train.py --voc DIR --voc DIR [--evaluation target/release/evaluation] [--out models/weights]
       [--policy solid --policy cells] [--work FOLDER] [--seed 7] [--folds 3] [--jobs 2]
The product redacts every face (`evaluation cells`), networks are cross-validated by groups of near-duplicate pictures, and
for each policy one that saw all of them is written with its sidecar, its figures and its confusion matrix; then the tables
of the card. Under `solid` a network reads clear cells, before the face is covered; the one for `cells` reads `strict` too.
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
from export import model, stored
from network import CLEAR, CLEAR_GRID, TEACHERS, fit, perceptron, probabilities, read, take, teachers

# Of each policy: the name of its network, what that reads, how `evaluation` is told, and whether a look is changed anew
# each time it is seen, which noise forbids; and how long it learns.
POLICIES = {
    "solid": {"name": "mask-solid", "grid": CLEAR_GRID, "arguments": CLEAR, "vary": True, "steps": 1200},
    "cells": {"name": "mask-8x1", "grid": (8, 1), "arguments": ["--policy", "cells"], "vary": False, "steps": 1800}}
# Reads what the network for `cells` reads, under more noise: has it to have its own?
STRICT = ["--policy", "strict"]
# The same cells of the clear face: what noise and quanta cost.
NOISELESS = ["--grid", "8x1", "--noise", "0", "--quantum", "1"]


def looks(options, arguments, grid, work):
    """The looks that the product makes of the pictures."""
    out = work / ("cells-" + "-".join(arguments).replace("--", "") + ".ndjson")
    voc = [part for folder in options.voc for part in ("--voc", folder)]
    if not out.exists():
        subprocess.run([str(part) for part in (options.evaluation, "cells", *voc, *arguments, "--draws", options.draws,
                                               "--found", work / "found.json", "--out", out)], check=True)
    return read(out, grid)


def judged(data, options, score):
    """Temperature, answers and their figures, of held-out scores."""
    temperature = measure.temperature_of(data, score, options.seed)
    p = measure.softmax(score, temperature)
    return temperature, p, measure.report(data, p, options.seed)


def written(options, policy, network, temperature, data, p):
    """ONNX with its sidecar and its confusion matrix, of held-out answers; what the runtime answers must be what the network answers."""
    grid, network = POLICIES[policy]["grid"], stored(network)
    content = model(network, temperature, grid)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    some = take(data, slice(0, 500))
    got = session.run(None, {"cells": some["cells"].astype(np.float32), "log_box": some["log_box"]})[0]
    here = probabilities([network], some["cells"], some["log_box"], temperature)
    assert np.abs(got - np.asarray(here)).max() < 1e-4, "the exported network answers otherwise"
    path = options.out / f"{POLICIES[policy]['name']}.onnx"
    path.write_bytes(content)
    sidecar = {"name": path.stem, "digest": blake3(content).hexdigest(), "rows": grid[0], "cols": grid[1],
               "policy": policy, "min_face_px": measure.UNCERTAIN_PX}
    if policy == "solid":
        sidecar["levels"] = measure.levels(data, p, options.seed)
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    held_out = {"digest": sidecar["digest"], "answers": ["mask", "no_mask", "incorrect", "not_a_face"],
                "truths": ["mask", "no_mask", "incorrect"], "faces": measure.confusion(data, p)}
    path.with_suffix(".confusion.json").write_text(json.dumps(held_out) + "\n")
    return path


def strict(options, pool, crossed, work, **how):
    """Figures on the looks of `strict`: of the networks for `cells`, and of networks of its own."""
    data = looks(options, STRICT, POLICIES["cells"]["grid"], work)
    own = measure.CrossValidation(pool, data, options.seed, options.folds, **how)
    return {"strict": judged(data, options, crossed.scores(data))[2],
            "strict, own": judged(data, options, own.scores(data))[2]}


def noiseless(options, pool, work, **how):
    """Figures of networks as those for `cells`, on clear faces."""
    data = looks(options, NOISELESS, POLICIES["cells"]["grid"], work)
    crossed = measure.CrossValidation(pool, data, options.seed, options.folds, **how)
    return {"noiseless": judged(data, options, crossed.scores(data))[2]}


def run(options, policy, pool, work) -> None:
    of = POLICIES[policy]
    data = looks(options, of["arguments"], of["grid"], work)
    how = {"steps": of["steps"], "vary": of["vary"]}
    # What is judged are networks like the shipped one, without teachers: those cost more than they gain.
    crossed = measure.CrossValidation(pool, data, options.seed, options.folds, **how)
    taught = teachers(pool, data, options.seed + 50, TEACHERS, **how)
    other = measure.CrossValidation(pool, data, options.seed, options.folds, shape=perceptron, **how)
    taught = pool.submit(fit, data, options.seed + 50, teachers=[one.result() for one in taught], **how)
    figures = {"policy": policy, "seed": options.seed, "steps": of["steps"], "folds": options.folds}
    figures["temperature"], p, figures["network"] = judged(data, options, crossed.scores(data))
    figures["perceptron"] = judged(data, options, other.scores(data))[2]
    figures["32 bits"] = judged(data, options, crossed.scores(data, written=lambda network: network))[2]
    if policy == "cells":
        figures |= strict(options, pool, crossed, work, **how) | noiseless(options, pool, work, **how)
    if policy == "solid":
        figures["leaving"] = measure.report(data, measure.leaving(data, p, options.seed), options.seed)
    path = written(options, policy, taught.result(), figures["temperature"], data, p)
    path.with_suffix(".figures.json").write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--voc", action="append", required=True)
    options.add_argument("--evaluation", default="target/release/evaluation")
    options.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models/weights"))
    options.add_argument("--policy", choices=POLICIES, action="append", help="both without it")
    options.add_argument("--work", type=pathlib.Path, help="folder that keeps what was redacted")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--folds", type=int, default=3)
    options.add_argument("--draws", type=int, default=6)
    options.add_argument("--jobs", type=int, default=2, help="networks that learn at once; they are the same with any number")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as work, measure.processes(options.jobs) as pool:
        work = options.work or pathlib.Path(work)
        work.mkdir(exist_ok=True)
        for policy in options.policy or POLICIES:
            run(options, policy, pool, work)
    print(card.renew(options.out / "MODEL_CARD.md"))


if __name__ == "__main__":
    main()
