"""Trains the mask classifier on redacted cells, measures it by groups, and writes ONNX, sidecar and figures.

Usage: train.py --cells FILE --out FOLDER [--policy default] [--seed 7] [--steps 2500]
FILE has the lines that cells.py describes. Deterministic for one machine: a seed and one thread decide everything.
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import optax
from blake3 import blake3
from jax2onnx import to_onnx

CLASSES = ("mask", "no_mask", "incorrect")
SHARES = (0.45, 0.37, 0.18)
WIDTH, HIDDEN, BATCH, SMOOTHING, FOLDS, TEACHERS = 24, 48, 256, 0.05, 5, 3
# Training keeps smaller faces than are ever judged: they are the only ones of some photos.
REPORTED_PX, UNCERTAIN_PX = 32, 16


def read(path: pathlib.Path):
    rows = [json.loads(line) for line in path.open()]
    rows = [row for row in rows if row["class"] < len(CLASSES)]
    cells = np.array([row["cells"] for row in rows], np.float32).reshape(len(rows), -1, 2, 3)
    sides = np.array([[row["w"], row["h"]] for row in rows], np.float32)
    log_box = np.log(sides.prod(1, keepdims=True)) / 2
    kind = np.array([row["class"] for row in rows])
    names = {name: i for i, name in enumerate(sorted({row["group"] for row in rows}))}
    group = np.array([names[row["group"]] for row in rows])
    stems = {name: i for i, name in enumerate(sorted({row["stem"] for row in rows}))}
    stem = np.array([stems[row["stem"]] for row in rows])
    face = {}
    first = np.array([face.setdefault((row["stem"], row["face"]), i) == i for i, row in enumerate(rows)])
    return {"first": first, "cells": cells, "log_box": log_box, "kind": kind, "group": group, "stem": stem,
            "side": np.array([row["side"] for row in rows])}


def features(cells, log_box):
    x = cells / 255.0
    centred = x - x.mean((1, 2), keepdims=True)
    spread = jnp.sqrt((centred * centred).mean((1, 2, 3), keepdims=True) + 1e-3)
    top = x[:, :1].mean(2, keepdims=True)
    plane = jnp.zeros_like(x[..., :1])
    row = plane + jnp.linspace(-1, 1, cells.shape[1], dtype=jnp.float32)[None, :, None, None]
    box = plane + (log_box[:, :, None, None] - 3.5)
    return jnp.concatenate([x, centred / spread, x - top, row, box], -1)


def convolve(x, weights, bias):
    return jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def start(key, rows):
    shapes = [(3, 3, 11, WIDTH)] + [(3, 3, WIDTH, WIDTH)] * 4 + [(rows * 2 * WIDTH, HIDDEN), (HIDDEN, len(CLASSES))]
    keys = jax.random.split(key, len(shapes))
    return [(jax.random.normal(k, s) * np.sqrt(2 / np.prod(s[:-1])), jnp.zeros(s[-1])) for k, s in zip(keys, shapes)]


def logits(parameters, cells, log_box, drop=None):
    (first, a, b, c, d, dense, out) = parameters
    x = jax.nn.relu(convolve(features(cells, log_box), *first))
    x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *a)), *b))
    x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *c)), *d))
    x = x.reshape(x.shape[0], -1)
    if drop is not None:
        x = x * jax.random.bernoulli(drop, 0.7, x.shape) / 0.7
    x = jax.nn.relu(x @ dense[0] + dense[1])
    return x @ out[0] + out[1]


def augment(key, cells):
    """Colour, brightness, contrast and gamma as another camera has them, and the mirrored face."""
    gain, offset, gamma, flip = jax.random.split(key, 4)
    n = cells.shape[0]
    x = (jnp.clip(cells, 0, 255) + 0.5) / 256
    x = x ** jnp.exp(jax.random.normal(gamma, (n, 1, 1, 1)) * 0.25)
    x = x * jnp.exp(jax.random.normal(gain, (n, 1, 1, 3)) * 0.08) + jax.random.normal(offset, (n, 1, 1, 1)) * 0.04
    x = jnp.where(jax.random.bernoulli(flip, 0.5, (n, 1, 1, 1)), x[:, :, ::-1], x)
    return jnp.clip(x * 255, 0, 255)


def fit(data, seed, steps, teachers=()):
    """Trains one network; with teachers half of what it learns is their mean answer to the same look."""
    optimiser = optax.adamw(optax.cosine_decay_schedule(2e-3, steps), weight_decay=1e-2)

    @jax.jit
    def step(parameters, state, key, cells, log_box, target):
        looks, drop = jax.random.split(key)
        seen = augment(looks, cells)
        if teachers:
            target = (target + probabilities(teachers, seen, log_box, 1.0)) / 2

        def loss(parameters):
            scores = logits(parameters, seen, log_box, drop)
            return optax.softmax_cross_entropy(scores, target).mean()

        updates, state = optimiser.update(jax.grad(loss)(parameters), state, parameters)
        return optax.apply_updates(parameters, updates), state

    random, key = np.random.default_rng(seed), jax.random.key(seed)
    key, first = jax.random.split(key)
    parameters = start(first, data["cells"].shape[1])
    state = optimiser.init(parameters)
    pools = [np.flatnonzero(data["kind"] == kind) for kind in range(len(CLASSES))]
    smooth = np.eye(len(CLASSES), dtype=np.float32) * (1 - SMOOTHING) + SMOOTHING / len(CLASSES)
    for _ in range(steps):
        kinds = random.choice(len(CLASSES), BATCH, p=SHARES)
        rows = np.array([random.choice(pools[kind]) for kind in kinds])
        key, now = jax.random.split(key)
        parameters, state = step(
            parameters, state, now, data["cells"][rows], data["log_box"][rows], smooth[kinds])
    return parameters


def probabilities(members, cells, log_box, temperature):
    return sum(jax.nn.softmax(logits(m, cells, log_box) / temperature) for m in members) / len(members)


def f1(kind, answer, classes):
    scores = []
    for c in classes:
        hit = ((kind == c) & (answer == c)).sum()
        scores.append(2 * hit / max(1, (kind == c).sum() + (answer == c).sum()))
    return float(np.mean(scores))


def calibration_error(kind, p, bins=15):
    top, order = p.max(1), np.argsort(p.max(1))
    right = p.argmax(1) == kind
    return float(sum(abs(top[b].mean() - right[b].mean()) * len(b) for b in np.array_split(order, bins)) / len(kind))


def figures(kind, p):
    two = kind != 2
    return {"faces": len(kind), "f1_2": f1(kind[two], p[two, :2].argmax(1), (0, 1)),
            "f1_2_all": f1((kind != 0).astype(int), (p[:, 0] <= 0.5).astype(int), (0, 1)),
            "f1_3": f1(kind, p.argmax(1), (0, 1, 2)), "ece": calibration_error(kind, p),
            "brier": float(((p - np.eye(3)[kind]) ** 2).sum(1).mean()),
            "per_class": {n: {"faces": int((kind == c).sum()),
                              "recall": float((p[kind == c].argmax(1) == c).mean())} for c, n in enumerate(CLASSES)}}


def with_intervals(kind, p, stem, seed, repeats=500):
    """Percentile bootstrap over pictures, since faces of one picture are not independent."""
    random, result = np.random.default_rng(seed), figures(kind, p)
    faces = {s: np.flatnonzero(stem == s) for s in np.unique(stem)}
    stems, draws = list(faces), {name: [] for name in ("f1_2", "f1_2_all", "f1_3", "ece")}
    for _ in range(repeats):
        rows = np.concatenate([faces[s] for s in random.choice(stems, len(stems))])
        again = figures(kind[rows], p[rows])
        for name, values in draws.items():
            values.append(again[name])
    return result | {f"{n}_interval": [float(q) for q in np.quantile(v, (0.025, 0.975))] for n, v in draws.items()}


def take(data, rows):
    return {name: values[rows] for name, values in data.items()}


def temperature_of(logit, kind):
    """The temperature of 1 or more with the least log loss on the shifted, held-out faces."""
    loss = lambda t: -np.log(np.asarray(jax.nn.softmax(logit / t))[np.arange(len(kind)), kind] + 1e-9).mean()
    return float(min(np.arange(1.0, 3.01, 0.05), key=loss))


def cross_validate(data, seed, steps):
    """One held-out look at every face: its probabilities, and the temperature fitted on shifted held-out looks."""
    groups = np.random.default_rng(seed).permutation(data["group"].max() + 1)
    fold = np.empty_like(groups)
    fold[groups] = np.arange(len(groups)) % FOLDS
    fold = fold[data["group"]]
    score, shifted = np.zeros((len(fold), 3), np.float32), np.zeros((len(fold), 3), np.float32)
    for held in range(FOLDS):
        parameters = fit(take(data, fold != held), seed + held, steps)
        out = np.flatnonzero(fold == held)
        cells, log_box = data["cells"][out], data["log_box"][out]
        score[out] = logits(parameters, cells, log_box)
        shifted[out] = logits(parameters, augment(jax.random.key(seed + held), cells), log_box)
        print(f"fold {held + 1} of {FOLDS} done", flush=True)
    judged = data["side"] >= REPORTED_PX
    temperature = temperature_of(shifted[judged], data["kind"][judged])
    return np.asarray(jax.nn.softmax(score / temperature)), temperature


def export(members, temperature, rows, path):
    model = to_onnx(lambda cells, log_box: probabilities(members, cells, log_box, temperature),
                    inputs=[("faces", rows, 2, 3), ("faces", 1)], model_name="mask_cells", opset=17)
    model = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
    values = [*model.graph.input, *model.graph.output]
    for value, name in zip(values, ("cells", "log_box", "probabilities"), strict=True):
        old = value.name
        for node in model.graph.node:
            node.input[:] = [name if i == old else i for i in node.input]
            node.output[:] = [name if o == old else o for o in node.output]
        value.name = name
    model.doc_string = ""
    model.producer_version = ""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=pathlib.Path, required=True)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--policy", default="default")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--steps", type=int, default=2500)
    options = options.parse_args()
    data = read(options.cells)
    rows = data["cells"].shape[1]
    name = f"mask-{rows}x2"
    p, temperature = cross_validate(data, options.seed, options.steps)
    report = {"temperature": temperature, "seed": options.seed, "steps": options.steps}
    for low, high in ((REPORTED_PX, 1e9), (UNCERTAIN_PX, REPORTED_PX)):
        at = np.flatnonzero(data["first"] & (data["side"] >= low) & (data["side"] < high))
        report[f"{low}+" if high > 1e6 else f"{low}-{high}"] = with_intervals(
            data["kind"][at], p[at], data["stem"][at], options.seed)
    teachers = [fit(data, options.seed + 100 + m, options.steps) for m in range(TEACHERS)]
    members = [fit(data, options.seed + 200, options.steps, teachers)]
    model = options.out / f"{name}.onnx"
    export(members, temperature, rows, model)
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    some = slice(0, 500)
    got = session.run(None, {"cells": data["cells"][some], "log_box": data["log_box"][some]})[0]
    here = probabilities(members, data["cells"][some], data["log_box"][some], temperature)
    assert np.abs(got - np.asarray(here)).max() < 1e-4, "the exported network answers otherwise"
    sidecar = {"name": name, "digest": blake3(model.read_bytes()).hexdigest(), "rows": rows, "cols": 2,
               "policy": options.policy, "min_face_px": UNCERTAIN_PX}
    model.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    (options.out / f"{name}.figures.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
