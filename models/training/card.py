"""Owns the tables of the model card: what stands between its two marks is written by training and by nobody else."""

START, END = "<!-- written by train.py -->\n", "<!-- end -->\n"
WHO = {"network": "the network", "perceptron": "perceptron", "clear": "the same network, clear faces"}
VIEW = {"detected": "detector's box", "annotated": "annotated box, 6% jitter"}


def line(who, view, size, row):
    with_interval = lambda key: f"{row[key]:.3f} [{row[key + '_interval'][0]:.3f}, {row[key + '_interval'][1]:.3f}]"
    recall = " / ".join(f"{row['recall'][name]:.3f}" for name in ("mask", "no_mask", "incorrect"))
    return (f"| {who} | {view} | {size} | {row['faces']:,} | {with_interval('f1_2')} | {with_interval('f1_2_all')} | "
            f"{with_interval('f1_3')} | {recall} | {row['ece']:.3f} | {row['brier']:.3f} |\n")


def tables(figures):
    text = ("| | box | px | looks | F1-2 | F1-2-all | F1-3 | recall: mask / no mask / incorrect | ECE | Brier |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n")
    for view, size in (("annotated", "32+"), ("detected", "32+"), ("annotated", "16-32"), ("detected", "16-32"),
                       ("annotated", "0-16")):
        text += line(WHO["network"], VIEW[view], size, figures["network"][f"{view} {size}"])
    text += line(WHO["network"], "other light, distance and boxes", "32+", figures["network"]["shifted 32+"])
    for who in ("perceptron", "clear"):
        if who in figures:
            for view in ("annotated", "detected"):
                text += line(WHO[who], VIEW[view], "32+", figures[who][f"{view} 32+"])
    none = figures["network"]["called_not_a_face"]
    looks = figures["network"]["annotated 32+"]["looks"]
    text += (f"\nTemperature {figures['temperature']}. At 32 px and more there are {looks['mask']:,} looks with a mask, "
             f"{looks['no_mask']:,} without and {looks['incorrect']:,} with one worn incorrectly. Called no face: "
             f"{none['not_a_face']:.1%} of {figures['network']['false_boxes']:,} false boxes, {none['mask']:.1%} of masked "
             f"faces, {none['no_mask']:.1%} of bare ones, {none['incorrect']:.1%} of those with a mask worn incorrectly.\n")
    return text


def renew(path, figures):
    before, rest = path.read_text().split(START)
    _, after = rest.split(END)
    path.write_text(before + START + tables(figures) + END + after)
