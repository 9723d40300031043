"""Owns the mask classifier as training sees it: its looks, its features, the network, how it learns and how it is written.

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
import onnx
import optax
from jax2onnx import to_onnx

CLASSES = ("mask", "no_mask", "incorrect", "not_a_face")
# Of each class and whether its mask was drawn, the share of a batch: fewer masked faces than there are, more of the rare.
SHARES = {(0, False): 0.37, (0, True): 0.05, (1, False): 0.35, (2, False): 0.11, (2, True): 0.05, (3, False): 0.07}
WIDTH, HIDDEN, BATCH, SMOOTHING, DROPPED, TEACHERS = 24, 48, 256, 0.05, 0.3, 2
CHANNELS = 11


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
    cells = np.stack([row["cells"] for row in rows]).reshape(-1, *grid, 3).astype(np.float32)
    return {"log_box": np.log(sides.prod(1, keepdims=True)) / 2, "cells": cells, "kind": array("class"),
            "side": array("side"), "view": array("view"), "drawn": array("drawn"), "group": number("group"),
            "stem": number("stem")}


def take(data, rows):
    return {name: values[rows] for name, values in data.items()}


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


def residual(rows, columns):
    """Sizes of the shipped network: one convolution, two residual blocks of two, two dense layers."""
    return [(9 * CHANNELS, WIDTH)] + [(9 * WIDTH, WIDTH)] * 4 + [(rows * columns * WIDTH, HIDDEN), (HIDDEN, len(CLASSES))]


def perceptron(rows, columns):
    """Sizes of the network to compare with: one hidden layer over the same features."""
    return [(rows * columns * CHANNELS, 64), (64, len(CLASSES))]


def logits(parameters, cells, log_box, drop=None):
    """Scores of a network of either shape."""
    *convolutions, dense, out = parameters
    x = features(cells, log_box)
    if convolutions:
        (first, a, b, c, d) = convolutions
        x = jax.nn.relu(convolve(x, *first))
        x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *a)), *b))
        x = jax.nn.relu(x + convolve(jax.nn.relu(convolve(x, *c)), *d))
    x = x.reshape(x.shape[0], -1)
    if drop is not None:
        x = x * jax.random.bernoulli(drop, 1 - DROPPED, x.shape) / (1 - DROPPED)
    x = jax.nn.relu(x @ dense[0] + dense[1])
    return x @ out[0] + out[1]


def either_way(parameters, cells, log_box):
    """Scores of a face and of its mirror image, meant: a face is as likely to be either."""
    return (logits(parameters, cells, log_box) + logits(parameters, cells[:, :, ::-1], log_box)) / 2


def probabilities(members, cells, log_box, temperature):
    return sum(jax.nn.softmax(either_way(m, cells, log_box) / temperature) for m in members) / len(members)


def fit(data, seed, steps, shape=residual, teachers=()):
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
    drawn = lambda size: (random.standard_normal(size) * np.sqrt(2 / size[0])).astype(np.float32)
    sizes = shape(*data["cells"].shape[1:3])
    parameters = [(drawn(size), np.zeros(size[-1], np.float32)) for size in sizes]
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
    return jax.tree.map(np.asarray, parameters)


def teachers(pool, data, seed, steps, n):
    """Begins a few networks of different seeds."""
    return [pool.submit(fit, data, seed + 100 * (m + 1), steps) for m in range(n)]


def scores(parameters, data, rows):
    """Scores of many looks, a part at a time."""
    answer = jax.jit(lambda cells, log_box: either_way(parameters, cells, log_box))
    parts = [answer(data["cells"][part], data["log_box"][part]) for part in np.array_split(rows, 1 + len(rows) // 8192)]
    return np.concatenate([np.asarray(part) for part in parts])


def model(parameters, temperature, grid, inputs=("cells", "log_box"), output="probabilities"):
    """The network and its temperature as ONNX bytes: the same bytes each time."""
    made = to_onnx(lambda cells, log_box: probabilities([parameters], cells, log_box, temperature),
                   inputs=[("faces", *grid, 3), ("faces", 1)], model_name="mask_cells", opset=17)
    made = made if isinstance(made, onnx.ModelProto) else onnx.load(made)
    values = [*made.graph.input, *made.graph.output]
    for value, name in zip(values, (*inputs, output), strict=True):
        old = value.name
        for node in made.graph.node:
            node.input[:] = [name if i == old else i for i in node.input]
            node.output[:] = [name if o == old else o for o in node.output]
        value.name = name
    made.doc_string = ""
    made.producer_version = ""
    del made.metadata_props[:]
    del made.graph.value_info[:]
    for node in made.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)
