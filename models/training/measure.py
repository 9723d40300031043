"""Owns the figures of training, as `evaluation utility` defines them, and cross-validation by groups of pictures."""

import concurrent.futures
import multiprocessing

import numpy as np

from export import stored
from network import CLASSES, fit, scores, take

# Of a face's sides the shorter one: what is reported, and what is too small to be answered.
REPORTED_PX, UNCERTAIN_PX = 32, 16
# Where an answer that leaves as a level becomes likely and sure: `LIKELY` and `SURE` of the privacy crate.
LEVELS = (0.25, 0.7, 0.9, 1.0)
# From this probability on a box is called none: NOT_A_FACE_MIN of proto.
NOT_A_FACE_MIN = 0.7


def softmax(score, temperature=1.0):
    e = np.exp((score - score.max(1, keepdims=True)) / temperature)
    return e / e.sum(1, keepdims=True)


def f1(kind, answer, classes):
    found = []
    for c in classes:
        hit = ((kind == c) & (answer == c)).sum()
        found.append(2 * hit / max(1, (kind == c).sum() + (answer == c).sum()))
    return float(np.mean(found))


def calibration_error(kind, p, bins=15):
    top, order = p.max(1), np.argsort(p.max(1), kind="stable")
    right = p.argmax(1) == kind
    return float(sum(abs(top[b].mean() - right[b].mean()) * len(b) for b in np.array_split(order, bins)) / len(kind))


def f1s(kind, p):
    """Of the three ways to wear a mask, given that there is a face; a face that is called none is wrong in every F1."""
    none, three = p[:, 3] >= NOT_A_FACE_MIN, p[:, :3]
    told = lambda answer: np.where(none, 3, answer)
    two, mask = kind != 2, three[:, 0] / three.sum(1)
    return {"f1_2": f1(kind[two], told(three[:, :2].argmax(1))[two], (0, 1)),
            "f1_2_all": f1((kind != 0).astype(int), told((mask <= 0.5).astype(int)), (0, 1)),
            "f1_3": f1(kind, told(three.argmax(1)), (0, 1, 2))}


def figures(kind, p):
    """All figures of some looks."""
    three = np.where(p[:, 3] >= NOT_A_FACE_MIN, 3, p[:, :3].argmax(1))
    given = p[:, :3] / p[:, :3].sum(1, keepdims=True)
    return f1s(kind, p) | {
        "faces": len(kind), "ece": calibration_error(kind, given),
        "brier": float(((given - np.eye(3)[kind]) ** 2).sum(1).mean()),
        "recall": {n: float((three[kind == c] == c).mean()) for c, n in enumerate(CLASSES[:3])},
        "looks": {n: int((kind == c).sum()) for c, n in enumerate(CLASSES[:3])}}


def with_intervals(kind, p, stem, seed, repeats=300):
    """Percentile bootstrap over pictures, since faces of one picture are not independent."""
    random, result = np.random.default_rng(seed), figures(kind, p)
    faces = [np.flatnonzero(stem == s) for s in np.unique(stem)]
    draws = {name: [] for name in ("f1_2", "f1_2_all", "f1_3")}
    for _ in range(repeats):
        rows = np.concatenate([faces[i] for i in random.integers(0, len(faces), len(faces))])
        again = f1s(kind[rows], p[rows])
        for name, values in draws.items():
            values.append(again[name])
    return result | {f"{n}_interval": [float(q) for q in np.quantile(v, (0.025, 0.975))] for n, v in draws.items()}


def processes(jobs):
    """Processes of their own, since a network learns on one thread; what they compute depends on no other."""
    return concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


class CrossValidation:
    """A network for each fold of groups, which learned from all others; they begin to learn at once."""

    def __init__(self, pool, data, seed, folds, **how):
        groups = np.random.default_rng(seed).permutation(data["group"].max() + 1)
        fold = np.empty_like(groups)
        fold[groups] = np.arange(len(groups)) % folds
        self.fold = fold[data["group"]]
        self.learning = [pool.submit(fit, take(data, self.fold != held), seed + held, **how) for held in range(folds)]

    def scores(self, data, written=stored):
        """Held-out scores of every look: at those that were learned from, or at others of the same faces in that order. By
        networks as they are when they were written."""
        assert len(data["kind"]) == len(self.fold), "looks at other faces are in no fold"
        score = np.zeros((len(self.fold), len(CLASSES)), np.float32)
        for held, learning in enumerate(self.learning):
            rows = np.flatnonzero(self.fold == held)
            score[rows] = scores(written(learning.result()), data, rows)
        return score


def shifted(data, seed):
    """Looks of 32 px and more in other colours, from further away, through boxes that are off; each class as often as in
    the pictures, since the rarer ones have more looks."""
    random, large = np.random.default_rng(seed), data["side"] >= REPORTED_PX
    varied = np.flatnonzero((data["view"] == "varied") & ~data["drawn"] & large)
    as_is = np.bincount(data["kind"][(data["view"] == "annotated") & large], minlength=len(CLASSES))
    return np.concatenate([random.permutation(varied[data["kind"][varied] == c])[: as_is[c]] for c in range(len(CLASSES))])


def temperature_of(data, score, seed):
    """The temperature of 1 or more with the least log loss on held-out looks that are shifted."""
    rows = shifted(data, seed)
    kind = data["kind"][rows]
    loss = lambda t: -np.log(softmax(score[rows], t)[np.arange(len(kind)), kind] + 1e-9).mean()
    return round(float(min(np.arange(1.0, 3.01, 0.05), key=loss)), 2)


def report(data, p, seed):
    """Figures by how a face was looked at and by its size; how often each class is called no face."""
    rows, result = {}, {}
    for view in ("annotated", "detected"):
        for low, high in ((REPORTED_PX, 1e9), (UNCERTAIN_PX, REPORTED_PX), (0, UNCERTAIN_PX)):
            judged = (data["view"] == view) & (data["kind"] < 3) & (data["side"] >= low) & (data["side"] < high)
            rows[f"{view} {low}+" if high > 1e6 else f"{view} {low}-{high}"] = np.flatnonzero(judged)
    rows["shifted 32+"] = shifted(data, seed)
    for name, at in rows.items():
        result[name] = with_intervals(data["kind"][at], p[at], data["stem"][at], seed)
    calls = (data["view"] == "detected") & (data["side"] >= REPORTED_PX)
    none = {n: float((p[calls & (data["kind"] == c), 3] >= NOT_A_FACE_MIN).mean()) for c, n in enumerate(CLASSES)}
    false, face = p[calls & (data["kind"] == 3), 3], p[calls & (data["kind"] < 3), 3]
    return result | {"called_not_a_face": none, "false_boxes": len(false),
                     # How often a false box has more of the fourth answer than a face.
                     "false_over_face": float((false[:, None] > face).mean()),
                     # What would be told at a bound that loses one face in 200.
                     "false_told_at_half_a_percent": float((false >= np.quantile(face, 0.995)).mean())}


def levels(data, p, seed):
    """How often the likeliest answer was right where it is unsure, likely and sure: on held-out faces of 32 px and more,
    through both kinds of box and by other light. Rounded, and kept within the ranges that they stand for."""
    plain = (data["view"] != "varied") & (data["kind"] < 3) & (data["side"] >= REPORTED_PX)
    dimmed = shifted(data, seed)
    at = np.concatenate([np.flatnonzero(plain), dimmed[data["kind"][dimmed] < 3]])
    top, right, found = p[at].max(1), p[at].argmax(1) == data["kind"][at], []
    for low, high in zip(LEVELS, LEVELS[1:]):
        within = right[(top >= low) & (top < high + (high == 1))]
        found.append(round(float(np.clip(within.mean(), low, high - 0.01)), 2))
    return found


def coarse(p, worth):
    """Answers as they leave: `Coarse` of the privacy crate, with what its three levels are worth."""
    none, left = p[:, 3] >= NOT_A_FACE_MIN, np.zeros_like(p)
    said = np.where(none, 3, p[:, :3].argmax(1))
    top = p[np.arange(len(p)), said]
    level = np.array(worth)[np.digitize(top, LEVELS[1:3])]
    rest, nearer = (1 - level)[:, None], np.where(p[:, :1] >= p[:, 1:2], (2 / 3, 1 / 3), (1 / 3, 2 / 3))
    left[:, :3] = rest / 2
    left[said == 2, :2] = (rest * nearer)[said == 2]
    left[none, :3] = rest[none] / 3
    left[np.arange(len(p)), said] = level
    return left


def leaving(data, p, seed):
    """Held-out answers as they leave: levels of each half of the groups are worth what those of the other were."""
    half, left = np.random.default_rng(seed).permutation(data["group"].max() + 1)[data["group"]] % 2, np.zeros_like(p)
    for held in (0, 1):
        other = np.flatnonzero(half != held)
        left[half == held] = coarse(p[half == held], levels(take(data, other), p[other], seed))
    return left


def confusion(data, p):
    """How often each truth (row) is answered so (column: mask, no mask, incorrect, not a face), on the detector's boxes of
    faces that are answered (16 px and more), held out."""
    at = np.flatnonzero((data["view"] == "detected") & (data["kind"] < 3) & (data["side"] >= UNCERTAIN_PX))
    answer = np.where(p[at, 3] >= NOT_A_FACE_MIN, 3, p[at, :3].argmax(1))
    return [[int(((data["kind"][at] == truth) & (answer == said)).sum()) for said in range(4)] for truth in range(3)]
