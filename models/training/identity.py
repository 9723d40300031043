"""Attacks redacted faces with the mask network: it learns persons instead of masks, from looks by the product's own code.

Usage: identity.py --people DIR [--people DIR] --choice "--policy cells" [--choice "--grid 8x8 --noise 0"] --out FILE.json
       [--evaluation BINARY] [--repeats 1] [--jobs 2]
Beside the linear attackers of `evaluation reidentify`, on the same folds: rank-1 with one look and with the mean of 16
looks of one epoch, 95% by bootstrap over persons, then photos (under ten persons over photos alone).
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import subprocess
import tempfile

import network  # first: it decides how many threads there are
import jax
import jax.numpy as jnp
import numpy as np
import optax

# Kinds of looks, by their place in what `evaluation` writes.
KINDS = {"1": 0, "16": 2}
FOLDS, SEED, DRAWS, PERSONS_MIN = 4, 1, 2000, 10
STEPS, BATCH = 800, 256


def read(path):
    """Cells of all looks: photos x looks to learn from x grid, and the probed one of each photo."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows, columns = lines[0]["grid"]
    cells = lambda looks: np.array(looks, np.float32).reshape(len(lines), -1, rows, columns, 3) * 255
    kinds = {name: (cells([line["learned"][kind] for line in lines]), cells([line["probed"][kind] for line in lines])[:, 0])
             for name, kind in KINDS.items()}
    return kinds, np.array([line["person"] for line in lines]), np.array([line["folds"] for line in lines])


def learned(cells, persons, seed):
    """The network of the mask classifier with one output a person; the running mean of its weights."""
    grid, n = cells.shape[1:3], persons.max() + 1
    sizes = network.residual(*grid)
    sizes["out"] = (network.HIDDEN, n)
    random, key = np.random.default_rng(seed), jax.random.key(seed)
    drawn = lambda size: (random.standard_normal(size) * np.sqrt(2 / size[0])).astype(np.float32)
    parameters = {name: (drawn(size), np.zeros(size[-1], np.float32)) for name, size in sizes.items()}
    rate = optax.warmup_cosine_decay_schedule(0, network.RATE, network.WARM, STEPS)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-2))

    @jax.jit
    def step(parameters, mean, state, key, cells, target):
        flip, drop = jax.random.split(key)
        mirrored = jax.random.bernoulli(flip, 0.5, (cells.shape[0], 1, 1, 1))
        seen = jnp.where(mirrored, cells[:, :, ::-1], cells)
        size = jnp.zeros((cells.shape[0], 1))

        def loss(parameters):
            scores = network.logits(parameters, seen, size, drop)
            return optax.softmax_cross_entropy_with_integer_labels(scores, target).mean()

        updates, state = optimiser.update(jax.grad(loss)(parameters), state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        kept = lambda old, new: network.KEPT * old + (1 - network.KEPT) * new
        return parameters, jax.tree.map(kept, mean, parameters), state

    mean, state = parameters, optimiser.init(parameters)
    for _ in range(STEPS):
        rows = random.integers(len(cells), size=BATCH)
        key, now = jax.random.split(key)
        parameters, mean, state = step(parameters, mean, state, now, cells[rows], persons[rows])
    return mean


def hits(learn, probe, persons, held, seed):
    """Whether each held photo's person is named first, by who learned from all others."""
    looks = learn[~held]
    who = np.repeat(persons[~held], looks.shape[1])
    parameters = learned(looks.reshape(-1, *looks.shape[2:]), who, seed)
    scores = sum(network.logits(parameters, seen, np.zeros((len(seen), 1))) for seen in (probe[held], probe[held][:, :, ::-1]))
    known = np.isin(persons[held], who)
    return np.where(known, np.asarray(scores).argmax(1) == persons[held], np.nan)


def interval(hit, persons):
    """95% of the mean over photos; a photo's value is its mean over repeats."""
    random, known = np.random.default_rng(SEED), ~np.isnan(hit)
    hit, persons = hit[known], persons[known]
    each = [hit[persons == person] for person in np.unique(persons)]
    redrawn = lambda values: values[random.integers(len(values), size=len(values))]

    def draw():
        if len(each) < PERSONS_MIN:
            return redrawn(hit).mean()
        return np.concatenate([redrawn(each[person]) for person in random.integers(len(each), size=len(each))]).mean()

    return np.quantile([draw() for _ in range(DRAWS)], [0.025, 0.975]).tolist()


def attacked(pool, options, folder, choice):
    """One set of people under one policy."""
    with tempfile.TemporaryDirectory() as work:
        looks = pathlib.Path(work) / "looks.ndjson"
        command = [options.evaluation, "reidentify", "--people", folder, *choice.split(), "--looks", str(looks),
                   "--repeats", str(options.repeats), "--json"]
        linear = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        kinds, persons, folds = read(looks)
    row = {"people": pathlib.Path(folder).name, "choice": choice, "linear": linear["observations"], "network": {}, "interval": {}}
    for name, (learn, probe) in kinds.items():
        parts = [folds[:, repeat] == fold for repeat in range(options.repeats) for fold in range(FOLDS)]
        answers = list(pool.map(hits, *zip(*[(learn, probe, persons, held, SEED + at) for at, held in enumerate(parts)])))
        given = np.full((options.repeats, len(persons)), np.nan)
        for at, (held, answer) in enumerate(zip(parts, answers)):
            given[at // FOLDS, held] = answer
        hit = np.nanmean(given, axis=0)
        row["network"][name], row["interval"][name] = float(np.nanmean(hit)), interval(hit, persons)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--evaluation", default="target/release/evaluation")
    options.add_argument("--people", action="append", required=True)
    options.add_argument("--choice", action="append", required=True, help='as `evaluation reidentify` takes it: "--policy cells"')
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--jobs", type=int, default=2, help="networks that learn at once")
    options = options.parse_args()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        rows = [attacked(pool, options, folder, choice) for folder in options.people for choice in options.choice]
    options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
