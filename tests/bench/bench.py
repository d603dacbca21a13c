#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare mayfly with QEMU on this host, side by side in one run.

bench.py [--build DIR] [--pairs N] [SECTION...] prints a table and writes
DIR/bench.json. Nothing is asserted: goals stand beside what was measured. A
section that cannot run on this host says why.
"""
import argparse
import json
import os
import platform
import subprocess
import sys

import boot
import disk
import formats
import frames
import image
import jail
import kvmhost
import memory
import neighbour
import net
import payload
import poll
import seccomp
import speed
import timeline
from measure import Bench, Skip

SECTIONS = {
    "boot": boot.run,
    "timeline": timeline.run,
    "speed": speed.run,
    "disk": disk.run,
    "poll": poll.run,
    "memory": memory.run,
    "payload": payload.run,
    "neighbour": neighbour.run,
    "net": net.run,
    "frames": frames.run,
    "jail": jail.run,
    "seccomp": seccomp.run,
    "kvmhost": kvmhost.run,
    "formats": formats.run,
    "image": image.run,
    "tune": boot.tune,
}
# These have found what there is to choose; runner/DESIGN.md 7 has the formats,
# qemu.py QEMU's best configuration.
ONLY_WHEN_NAMED = {"formats", "tune"}


def first_line(argv):
    """What a program says of itself, or None where there is none."""
    try:
        return subprocess.run(argv, capture_output=True, text=True,
                              check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def host():
    """What the numbers depend on."""
    with open("/proc/cpuinfo", encoding="ascii") as f:
        model = [line.split(":", 1)[1].strip() for line in f
                 if line.startswith("model name")]
    return {
        "cpu": model[0] if model else "unknown",
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "qemu": first_line(["qemu-system-x86_64", "--version"]),
    }


def show(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def print_table(results):
    rows = [("section", "what", "unit", "mayfly", "peer", "ratio", "goal", "")]
    for r in results:
        if r.skipped:
            rows.append((r.section, "skipped: " + r.skipped) + ("",) * 6)
            continue
        rows.append((r.section, r.name, r.unit, show(r.mayfly), show(r.peer),
                     show(r.ratio), r.goal.text() if r.goal else "",
                     r.verdict()))
    width = [max(len(row[i]) for row in rows if row[2] or i != 1)
             for i in range(8)]
    for row in rows:
        cells = [c.ljust(w) if i < 3 else c.rjust(w)
                 for i, (c, w) in enumerate(zip(row, width))]
        print("  ".join(cells).rstrip())
    for note in dict.fromkeys(r.note for r in results if r.note):
        print("note:", note)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("sections", nargs="*", metavar="SECTION",
                        help=" ".join(SECTIONS))
    args = parser.parse_args()
    for name in args.sections:
        if name not in SECTIONS:
            parser.error(f"no section {name}; there are: "
                         + " ".join(SECTIONS))
    bench = Bench(args.build, args.pairs)
    facts = host()
    for name in args.sections or [s for s in SECTIONS
                                  if s not in ONLY_WHEN_NAMED]:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        try:
            SECTIONS[name](bench.section(name))
        except Skip as why:
            bench.skip(name, str(why))
    print_table(bench.results)
    path = os.path.join(args.build, "bench.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"format": 1, "host": facts, "pairs": args.pairs,
                   "results": [r.as_dict() for r in bench.results]},
                  f, indent=1)
        f.write("\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
