"""Processor time and memory of a whole video, ours beside ffmpeg and deface (PyPI, MIT), in one run: one frame each so often is
taken out, its faces are found and covered. Ours also audits and signs each frame. Runs alternate; the table has medians.

In a virtual environment of its own (packages in requirements.txt beside this file), with ffmpeg installed:
    python3 whole_clip.py VIDEO [--seconds 58.8] [--every 5] [--repeats 3] [--fog-node target/release/fog-node]
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile


def spent(command) -> tuple[float, float]:
    """Seconds of processor and most memory in MB of a command and what it starts; raises when it fails."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([str(part) for part in command], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status):
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read().decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def ours(options, folder) -> tuple[float, float, int]:
    milliseconds = round(options.seconds * 1000)
    seconds, megabytes = spent((options.fog_node, "redact", options.video, "--length", f"{milliseconds}ms",
                                "--every", f"{options.every}s", "--out", folder / "frames"))
    return seconds, megabytes, len(list((folder / "frames").glob("*.jpg")))


def theirs(options, folder) -> tuple[float, float, int]:
    # Key frames alone, as ours takes them where they lie near enough.
    cutting = spent(("ffmpeg", "-loglevel", "error", "-threads", "1", "-skip_frame", "nokey", "-i", options.video,
                     "-t", options.seconds, "-vf", f"fps=1/{options.every}", "-q:v", "2", folder / "%04d.jpg"))
    deface = pathlib.Path(sys.executable).with_name("deface")
    covering = spent((deface, "--ep", "CPUExecutionProvider", *sorted(folder.glob("*.jpg"))))
    covered = len(list(folder.glob("*_anonymized*")))
    return cutting[0] + covering[0], max(cutting[1], covering[1]), covered


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("video", type=pathlib.Path)
    options.add_argument("--seconds", type=float, default=58.8)
    options.add_argument("--every", type=int, default=5)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--fog-node", default="target/release/fog-node")
    options = options.parse_args()
    runs = {ours: [], theirs: []}
    for _ in range(options.repeats):
        for way, found in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(way(options, pathlib.Path(folder)))
    print("| by | processor s | each run | most memory MB | frames |\n|---|---|---|---|---|")
    for way, name in ((ours, "ours: cut, find, cover, audit, sign"), (theirs, "ffmpeg and deface: cut, find, cover")):
        seconds = [found[0] for found in runs[way]]
        each = ", ".join(f"{value:.2f}" for value in seconds)
        memory, frames = max(found[1] for found in runs[way]), runs[way][0][2]
        print(f"| {name} | {statistics.median(seconds):.2f} | {each} | {memory:.0f} | {frames} |")


if __name__ == "__main__":
    main()
