# SPDX-License-Identifier: Apache-2.0
"""How fast guests compute on soft and on QEMU's TCG: speed.c by the guest's
clock, held against the host's."""
import os
import statistics
import subprocess
import tempfile
import time

import boot
import qemu
from measure import Goal, Skip

SCALE = 4
LIMIT = 120
GOALS = {"integer": Goal("mayfly", ">=", 100)}


def one(argv):
    """{name: (value, unit)}, and the seconds that the host saw."""
    start = time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=LIMIT,
                              stdout=subprocess.PIPE, text=True, check=False)
    except subprocess.TimeoutExpired:
        raise Skip(f"{argv[0]}: no end after {LIMIT} s") from None
    wall = time.monotonic() - start
    rows = [line.split() for line in done.stdout.splitlines()]
    found = {r[0]: (float(r[1]), r[2]) for r in rows
             if len(r) == 4 and r[0] != "total"}
    total = [float(r[1]) for r in rows if len(r) == 4 and r[0] == "total"]
    if not total:
        raise Skip(f"{argv[0]}: speed did not end: {done.stdout[-200:]!r}")
    # The guest's part of the wall clock must fit into the whole.
    if not total[0] <= wall:
        raise Skip(f"{argv[0]}: the guest's clock says {total[0]:.2f} s, "
                   f"the host's {wall:.2f} s")
    return found


def run(section):
    bench = section.bench
    qemu.need()
    image = bench.tool("speed.img")
    command = f"/bin/speed {SCALE}"
    samples = {"mayfly": {}, "peer": {}}
    units = {}
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        scratch = os.path.join(work, "scratch.img")
        sides = {
            "mayfly": [bench.path("mayfly"), "run", "--engine", "soft",
                       "--rootfs", image, "--", *command.split()],
            "peer": qemu.linux(bench.guest("vmlinux"),
                               bench.tool("init.cpio"), image, scratch,
                               command, append=bench.tsc_early_khz()),
        }
        for i in range(max(3, section.pairs // 2)):
            for side in sorted(sides, reverse=bool(i & 1)):
                subprocess.run(boot.scratch_prepare(
                    bench.guest("scratch.img"), scratch), shell=True,
                    check=True)
                for name, (value, unit) in one(sides[side]).items():
                    samples[side].setdefault(name, []).append(value)
                    units[name] = unit
    for name, unit in units.items():
        a, b = samples["mayfly"][name], samples["peer"][name]
        section.add(f"soft, QEMU TCG, {name}", unit, statistics.median(a),
                    statistics.median(b), goal=GOALS.get(name),
                    ratio=statistics.median(x / y for x, y in zip(a, b)),
                    samples={"mayfly": a, "peer": b})
