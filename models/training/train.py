"""Trains the mask classifier on redacted cells, measures it by groups of pictures, and writes ONNX, sidecar and figures.

Usage: train.py --cells FILE --out FOLDER [--policy default] [--seed 7] [--steps 3000] [--folds 5]
       [--answers FILE]
FILE is what `evaluation cells` wrote: one look at a face a line, redacted by the product's own code, the plain looks as
they are and the others as another camera might have them. Deterministic for one machine: a seed and one thread decide
everything.
"""

import argparse
import json
import os
import pathlib
import tempfile

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

CLASSES = ("mask", "no_mask", "incorrect", "not_a_face")
# Of each class and whether its mask was drawn, the share of a batch: fewer masked faces than there are, more of the rare.
SHARES = {(0, False): 0.37, (0, True): 0.05, (1, False): 0.35, (2, False): 0.11, (2, True): 0.05, (3, False): 0.07}
WIDTH, HIDDEN, BATCH, SMOOTHING, DROPPED, TEACHERS = 24, 48, 256, 0.05, 0.3, 4
# Training keeps smaller faces than are ever judged: they are the only ones of some photos.
REPORTED_PX, UNCERTAIN_PX = 32, 16


def read(path):
    rows = [json.loads(line) for line in path.open()]
    number = lambda key: np.unique([str(key(row)) for row in rows], return_inverse=True)[1]
    sides = np.array([[row["w"], row["h"]] for row in rows], np.float32)
    data = {"log_box": np.log(sides.prod(1, keepdims=True)) / 2, "kind": np.array([row["class"] for row in rows]),
            "cells": np.array([row["cells"] for row in rows], np.float32),
            "side": np.array([row["side"] for row in rows]), "plain": np.array([row["plain"] for row in rows]),
            "drawn": np.array([row["drawn"] for row in rows]), "group": number(lambda row: row["group"]),
            "stem": number(lambda row: row["stem"])}
    return data


def features(cells, log_box):
    """Absolute, normalised, relative to the top quarter, row coordinate, size; brightness apart from colour."""
    x = cells / 255.0
    luma = x @ jnp.array([0.299, 0.587, 0.114], jnp.float32)
    x = jnp.stack([luma, (x[..., 2] - luma) * 2, (x[..., 0] - luma) * 2], -1)
    centred = x - x.mean((1, 2), keepdims=True)
    spread = jnp.sqrt((centred * centred).mean((1, 2, 3), keepdims=True) + 1e-3)
    top = x[:, : max(1, cells.shape[1] // 4)].mean((1, 2), keepdims=True)
    plane = jnp.zeros_like(x[..., :1])
    row = plane + jnp.linspace(-1, 1, cells.shape[1], dtype=jnp.float32)[None, :, None, None]
    box = plane + (log_box[:, :, None, None] - 3.5)
    return jnp.concatenate([x, centred / spread, x - top, row, box], -1)


def convolve(x, weights, bias):
    """3x3 over the cells as one product: faster here than a convolution, and small in ONNX too."""
    rows, columns = x.shape[1], x.shape[2]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    near = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return jnp.concatenate(near, -1) @ weights + bias


def start(random, rows, columns):
    shapes = [(9 * 11, WIDTH)] + [(9 * WIDTH, WIDTH)] * 4 + [(rows * columns * WIDTH, HIDDEN), (HIDDEN, len(CLASSES))]
    drawn = lambda shape: (random.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)
    return [(drawn(shape), np.zeros(shape[-1], np.float32)) for shape in shapes]


def logits(parameters, cells, log_box, drop=None):
    (first, a, b, c, d, dense, out) = parameters
    x = jax.nn.relu(convolve(features(cells, log_box), *first))
    x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *a)), *b))
    x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *c)), *d))
    x = x.reshape(x.shape[0], -1)
    if drop is not None:
        x = x * jax.random.bernoulli(drop, 1 - DROPPED, x.shape) / (1 - DROPPED)
    x = jax.nn.relu(x @ dense[0] + dense[1])
    return x @ out[0] + out[1]


def fit(data, seed, steps, teachers=()):
    """Trains one network; with teachers half of what it learns is their mean answer to the same look."""
    optimiser = optax.adamw(optax.cosine_decay_schedule(2e-3, steps), weight_decay=1e-2)

    @jax.jit
    def step(parameters, state, key, cells, log_box, target):
        flip, drop = jax.random.split(key)
        mirrored = jax.random.bernoulli(flip, 0.5, (cells.shape[0], 1, 1, 1))
        seen = jnp.where(mirrored, cells[:, :, ::-1], cells)
        if teachers:
            target = (target + probabilities(teachers, seen, log_box, 1.0)) / 2

        def loss(parameters):
            scores = logits(parameters, seen, log_box, drop)
            return optax.softmax_cross_entropy(scores, target).mean()

        updates, state = optimiser.update(jax.grad(loss)(parameters), state, parameters)
        return optax.apply_updates(parameters, updates), state

    random, key = np.random.default_rng(seed), jax.random.key(seed)
    parameters = start(random, *data["cells"].shape[1:3])
    state = optimiser.init(parameters)
    pools = [np.flatnonzero((data["kind"] == kind) & (data["drawn"] == drawn)) for kind, drawn in SHARES]
    shares = np.array([share if len(pool) else 0 for share, pool in zip(SHARES.values(), pools)])
    smooth = np.eye(len(CLASSES), dtype=np.float32) * (1 - SMOOTHING) + SMOOTHING / len(CLASSES)
    for _ in range(steps):
        picked = np.unique(random.choice(len(pools), BATCH, p=shares / shares.sum()), return_counts=True)
        rows = np.concatenate([random.choice(pools[pool], n) for pool, n in zip(*picked)])
        key, now = jax.random.split(key)
        parameters, state = step(
            parameters, state, now, data["cells"][rows], data["log_box"][rows], smooth[data["kind"][rows]])
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
    """As `evaluation utility` has them: of the three ways to wear a mask, given that there is a face."""
    p = p[:, :3] / p[:, :3].sum(1, keepdims=True)
    two = kind != 2
    return {"faces": len(kind), "f1_2": f1(kind[two], p[two, :2].argmax(1), (0, 1)),
            "f1_2_all": f1((kind != 0).astype(int), (p[:, 0] <= 0.5).astype(int), (0, 1)),
            "f1_3": f1(kind, p.argmax(1), (0, 1, 2)), "ece": calibration_error(kind, p),
            "brier": float(((p - np.eye(3)[kind]) ** 2).sum(1).mean()),
            "per_class": {n: {"looks": int((kind == c).sum()),
                              "recall": float((p[kind == c].argmax(1) == c).mean())}
                          for c, n in enumerate(CLASSES[:3])}}


def with_intervals(kind, p, stem, seed, repeats=500):
    """Percentile bootstrap over pictures, since faces of one picture are not independent."""
    random, result = np.random.default_rng(seed), figures(kind, p)
    faces = {s: np.flatnonzero(stem == s) for s in np.unique(stem)}
    stems, draws = list(faces), {name: [] for name in ("f1_2", "f1_2_all", "f1_3")}
    for _ in range(repeats):
        rows = np.concatenate([faces[s] for s in random.choice(stems, len(stems))])
        again = figures(kind[rows], p[rows])
        for name, values in draws.items():
            values.append(again[name])
    return result | {f"{n}_interval": [float(q) for q in np.quantile(v, (0.025, 0.975))] for n, v in draws.items()}


def take(data, rows):
    return {name: values[rows] for name, values in data.items()}


def temperature_of(logit, kind):
    """The temperature of 1 or more with the least log loss on faces that are held out and shifted."""
    loss = lambda t: -np.log(np.asarray(jax.nn.softmax(logit / t))[np.arange(len(kind)), kind] + 1e-9).mean()
    return float(min(np.arange(1.0, 3.01, 0.05), key=loss))


def cross_validate(data, seed, steps, folds):
    """A held-out answer to every look, and the temperature that fits the shifted ones among them."""
    groups = np.random.default_rng(seed).permutation(data["group"].max() + 1)
    fold = np.empty_like(groups)
    fold[groups] = np.arange(len(groups)) % folds
    fold = fold[data["group"]]
    score = np.zeros((len(fold), len(CLASSES)), np.float32)
    for held in range(folds):
        parameters = fit(take(data, fold != held), seed + held, steps)
        for rows in np.array_split(np.flatnonzero(fold == held), 8):
            score[rows] = logits(parameters, data["cells"][rows], data["log_box"][rows])
        print(f"fold {held + 1} of {folds} done", flush=True)
    # Each face as often as in the plain looks: the rarer classes have more of the shifted ones.
    random = np.random.default_rng(seed)
    shifted = np.flatnonzero(~data["plain"] & ~data["drawn"] & (data["side"] >= REPORTED_PX))
    plain = np.bincount(data["kind"][data["plain"] & (data["side"] >= REPORTED_PX)], minlength=len(CLASSES))
    alike = [random.permutation(shifted[data["kind"][shifted] == c])[: plain[c]] for c in range(len(CLASSES))]
    rows = np.concatenate(alike)
    return score, temperature_of(score[rows], data["kind"][rows])


def export(members, temperature, grid, path):
    model = to_onnx(lambda cells, log_box: probabilities(members, cells, log_box, temperature),
                    inputs=[("faces", *grid, 3), ("faces", 1)], model_name="mask_cells", opset=17)
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


def measured(data, score, temperature, seed):
    report = {}
    p = np.asarray(jax.nn.softmax(score / temperature))
    for low, high in ((REPORTED_PX, 1e9), (UNCERTAIN_PX, REPORTED_PX)):
        judged = data["plain"] & (data["kind"] < 3) & (data["side"] >= low) & (data["side"] < high)
        at = np.flatnonzero(judged)
        name = f"{low}+" if high > 1e6 else f"{low}-{high}"
        report[name] = with_intervals(data["kind"][at], p[at], data["stem"][at], seed)
    none = {}
    for c, name in enumerate(CLASSES):
        at = data["plain"] & (data["kind"] == c) & (data["side"] >= REPORTED_PX)
        none[name] = float((p[at, 3] >= 0.7).mean())
    return report | {"called_not_a_face": none}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=pathlib.Path, required=True)
    options.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models/weights"))
    options.add_argument("--policy", default="default")
    options.add_argument("--grid", default="8x2")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--steps", type=int, default=3000)
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--answers", type=pathlib.Path)
    options = options.parse_args()
    grid = tuple(int(side) for side in options.grid.split("x"))
    data = read(options.cells)
    data["cells"] = data["cells"].reshape(-1, *grid, 3)
    score, temperature = cross_validate(data, options.seed, options.steps, options.folds)
    report = {"policy": options.policy, "temperature": temperature, "seed": options.seed, "steps": options.steps}
    report |= measured(data, score, temperature, options.seed)
    print(json.dumps(report, indent=2))
    if options.answers:
        at = np.flatnonzero(data["plain"] & (data["kind"] < 3) & (data["side"] >= REPORTED_PX))
        p = np.asarray(jax.nn.softmax(score[at] / temperature))
        np.savez(options.answers, p=p, kind=data["kind"][at], stem=data["stem"][at], report=json.dumps(report))
        return
    teachers = [fit(data, options.seed + 100 + m, options.steps) for m in range(TEACHERS)]
    members = [fit(data, options.seed + 200, options.steps, teachers)]
    with tempfile.TemporaryDirectory() as scratch:
        written = pathlib.Path(scratch) / "model.onnx"
        export(members, temperature, grid, written)
        content = written.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    some = slice(0, 500)
    got = session.run(None, {"cells": data["cells"][some], "log_box": data["log_box"][some]})[0]
    here = probabilities(members, data["cells"][some], data["log_box"][some], temperature)
    assert np.abs(got - np.asarray(here)).max() < 1e-4, "the exported network answers otherwise"
    model = options.out / f"mask-{options.grid}.onnx"
    model.with_suffix(".figures.json").write_text(json.dumps(report, indent=2) + "\n")
    model.write_bytes(content)
    sidecar = {"name": model.stem, "digest": blake3(content).hexdigest(), "rows": grid[0], "cols": grid[1],
               "policy": options.policy, "min_face_px": UNCERTAIN_PX}
    model.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")


if __name__ == "__main__":
    main()
