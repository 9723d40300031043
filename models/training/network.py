"""Owns the mask classifier as training sees it: its looks, its features, the network, and how it learns.

A look is one line of what `evaluation cells` wrote: one face through the product's own redaction. Deterministic for one
machine: a seed and one thread decide everything.
"""

import json
import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

from variety import varied

# What the network reads of a face that is covered whole afterwards, and how `evaluation` is told.
CLEAR_GRID = (12, 12)
CLEAR = ["--grid", f"{CLEAR_GRID[0]}x{CLEAR_GRID[1]}", "--noise", "0", "--quantum", "1"]
CLASSES = ("mask", "no_mask", "incorrect", "not_a_face")
# Of each class and whether its mask was drawn, the share of a batch: fewer masked faces than there are, more of the rare.
SHARES = {(0, False): 0.37, (0, True): 0.05, (1, False): 0.35, (2, False): 0.11, (2, True): 0.05, (3, False): 0.07}
WIDTH, HIDDEN, BATCH, SMOOTHING, DROPPED, TEACHERS = 24, 48, 256, 0.05, 0.3, 2
# Largest rate of learning, steps until it, and how much of the running mean of weights a step keeps.
RATE, WARM, KEPT = 2e-3, 60, 0.995
# Features of a cell; from how many cells on they are folded, and to how many channels they are squeezed then.
CHANNELS, FOLDED_CELLS, SQUEEZED = 11, 100, 8


def read(path, grid):
    """Every look as arrays; groups and pictures as numbers."""
    rows = []
    with path.open() as lines:
        for line in lines:
            row = json.loads(line)
            rows.append(row | {"cells": np.array(row["cells"], np.uint8)})
    number = lambda key: np.unique([row[key] for row in rows], return_inverse=True)[1]
    sides = np.array([[row["w"], row["h"]] for row in rows], np.float32)
    array = lambda key: np.array([row[key] for row in rows])
    cells = np.stack([row["cells"] for row in rows]).reshape(-1, *grid, 3)
    return {"log_box": np.log(sides.prod(1, keepdims=True)) / 2, "cells": cells, "kind": array("class"),
            "side": array("side"), "view": array("view"), "drawn": array("drawn"), "group": number("group"),
            "stem": number("stem")}


def take(data, rows):
    return {name: values[rows] for name, values in data.items()}


def features(cells, log_box):
    """Absolute, normalised, relative to the top quarter, row coordinate, size; brightness apart from colour."""
    x = jnp.asarray(cells, jnp.float32) / 255.0
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
    """3x3 over the cells."""
    kernel = weights.reshape(3, 3, x.shape[-1], -1)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def folded(x):
    """Each two by two cells as one with four times the channels: a quarter of the work, and of the dense layer."""
    n, rows, columns, channels = x.shape
    x = x.reshape(n, rows // 2, 2, columns // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, rows // 2, columns // 2, 4 * channels)


def residual(rows, columns):
    """Sizes of the shipped network: one convolution, two residual blocks of two, two dense layers; over many cells they are
    folded before, and channels are squeezed before the dense layers."""
    sizes = {"first": (9 * CHANNELS, WIDTH)} | {name: (9 * WIDTH, WIDTH) for name in ("a", "b", "c", "d")}
    if rows * columns < FOLDED_CELLS:
        return sizes | {"dense": (rows * columns * WIDTH, HIDDEN), "out": (HIDDEN, len(CLASSES))}
    return sizes | {"first": (9 * 4 * CHANNELS, WIDTH), "squeeze": (WIDTH, SQUEEZED),
                    "dense": (rows * columns // 4 * SQUEEZED, HIDDEN), "out": (HIDDEN, len(CLASSES))}


def perceptron(rows, columns):
    """Sizes of the network to compare with: one hidden layer over the same features."""
    return {"dense": (rows * columns * CHANNELS, 64), "out": (64, len(CLASSES))}


def logits(parameters, cells, log_box, drop=None):
    """Scores of a network of any shape."""
    x, of = features(cells, log_box), parameters
    if "first" in of:
        x = folded(x) if "squeeze" in of else x
        x = jax.nn.relu(convolve(x, *of["first"]))
        x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *of["a"])), *of["b"]))
        x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *of["c"])), *of["d"]))
    if "squeeze" in of:
        x = jax.nn.relu(x @ of["squeeze"][0] + of["squeeze"][1])
    x = x.reshape(x.shape[0], -1)
    if drop is not None:
        x = x * jax.random.bernoulli(drop, 1 - DROPPED, x.shape) / (1 - DROPPED)
    x = jax.nn.relu(x @ of["dense"][0] + of["dense"][1])
    return x @ of["out"][0] + of["out"][1]


def either_way(parameters, cells, log_box):
    """Scores of a face and of its mirror image, meant: a face is as likely to be either."""
    both = jnp.concatenate([cells, cells[:, :, ::-1]])
    scored = logits(parameters, both, jnp.concatenate([log_box, log_box]))
    return scored.reshape(2, -1, len(CLASSES)).mean(0)


def probabilities(members, cells, log_box, temperature):
    return sum(jax.nn.softmax(either_way(m, cells, log_box) / temperature) for m in members) / len(members)


def fit(data, seed, steps, shape=residual, vary=False, teachers=()):
    """Trains one network and gives the running mean of its weights; with teachers half of what it learns is their mean
    answer to the same look. `vary` changes clear cells each time they are seen."""
    rate = optax.warmup_cosine_decay_schedule(0, RATE, WARM, steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-2))

    @jax.jit
    def step(parameters, mean, state, key, cells, log_box, target):
        flip, drop, vary_key = jax.random.split(key, 3)
        mirrored = jax.random.bernoulli(flip, 0.5, (cells.shape[0], 1, 1, 1))
        seen = jnp.where(mirrored, cells[:, :, ::-1], cells).astype(jnp.float32)
        seen = varied(vary_key, seen) if vary else seen
        if teachers:
            target = (target + probabilities(teachers, seen, log_box, 1.0)) / 2

        def loss(parameters):
            scores = logits(parameters, seen, log_box, drop)
            return optax.softmax_cross_entropy(scores, target).mean()

        updates, state = optimiser.update(jax.grad(loss)(parameters), state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        return parameters, jax.tree.map(lambda old, new: KEPT * old + (1 - KEPT) * new, mean, parameters), state

    random, key = np.random.default_rng(seed), jax.random.key(seed)
    drawn = lambda size: (random.standard_normal(size) * np.sqrt(2 / size[0])).astype(np.float32)
    sizes = shape(*data["cells"].shape[1:3])
    parameters = {name: (drawn(size), np.zeros(size[-1], np.float32)) for name, size in sizes.items()}
    mean, state = parameters, optimiser.init(parameters)
    pools = [np.flatnonzero((data["kind"] == kind) & (data["drawn"] == drawn)) for kind, drawn in SHARES]
    shares = np.array([share if len(pool) else 0 for share, pool in zip(SHARES.values(), pools)])
    smooth = np.eye(len(CLASSES), dtype=np.float32) * (1 - SMOOTHING) + SMOOTHING / len(CLASSES)
    for _ in range(steps):
        picked = np.unique(random.choice(len(pools), BATCH, p=shares / shares.sum()), return_counts=True)
        rows = np.concatenate([random.choice(pools[pool], n) for pool, n in zip(*picked)])
        key, now = jax.random.split(key)
        parameters, mean, state = step(
            parameters, mean, state, now, data["cells"][rows], data["log_box"][rows], smooth[data["kind"][rows]])
    return jax.tree.map(np.asarray, mean)


def teachers(pool, data, seed, n, **how):
    """Begins a few networks of different seeds."""
    return [pool.submit(fit, data, seed + 100 * (m + 1), **how) for m in range(n)]


def scores(parameters, data, rows):
    """Scores of many looks, a part at a time."""
    answer = jax.jit(lambda cells, log_box: either_way(parameters, cells, log_box))
    parts = [answer(data["cells"][part], data["log_box"][part]) for part in np.array_split(rows, 1 + len(rows) // 8192)]
    return np.concatenate([np.asarray(part) for part in parts])
