# SPDX-License-Identifier: Apache-2.0
"""Cold boot on soft, from exec to the command's first output and to the end,
against QEMU's TCG."""
import os
import shlex
import statistics
import tempfile

import qemu
from measure import Goal, Skip

WORD = "first"
NOTE = ("boot: same kernel, root and scratch image, memory and mounts; QEMU's "
        "guest has no vsock and no cgroup for the command, writes to its "
        "serial port, and gets its scratch copied before the clock starts")


def scratch_prepare(template, copy):
    """The shell command that makes QEMU's scratch disk new."""
    return (f"cp --sparse=always {shlex.quote(template)} "
            f"{shlex.quote(copy)}")


def race(section, pairs=None, **qemu_options):
    bench = section.bench
    qemu.need()
    qemu_options.setdefault("append", bench.tsc_early_khz())
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        scratch = os.path.join(work, "scratch.img")
        peer = qemu.linux(bench.guest("vmlinux"), bench.tool("init.cpio"),
                          bench.guest("base.img"), scratch, "echo " + WORD,
                          **qemu_options)
        ours = [bench.path("mayfly"), "run", "--engine", "soft", "--",
                "echo", WORD]
        return section.race(ours, peer, word=WORD, limit=30, pairs=pairs,
                            prepare=scratch_prepare(
                                bench.guest("scratch.img"), scratch))


def run(section):
    section.compare("soft, QEMU TCG", race(section), ("first", "exit", "cpu"),
                    goal=Goal("ratio", "<=", 0.8), note=NOTE)


TUNE = [
    {},
    {"machine": "acpi=on,x-option-roms=off", "append": ""},
    {"machine": "acpi=on,x-option-roms=off"},
    {"machine": "acpi=on,x-option-roms=off,pit=off"},
    {"machine": "acpi=on,pit=off,pic=off"},
    {"machine": "acpi=on,x-option-roms=off,pit=off,pic=off,rtc=off"},
    {"machine": "acpi=off,x-option-roms=off", "append": ""},
    {"machine": "acpi=off,x-option-roms=off"},
    {"cpu": "Nehalem"},
    {"cpu": "qemu64"},
    {"cpu": "max,-la57,-smap,-smep"},
    {"accel": "tcg,thread=single"},
    {"accel": "tcg,tb-size=32"},
    {"accel": "tcg,tb-size=512"},
]


def tune(section):
    """Each candidate against mayfly, so that they compare by ratio."""
    for options in TUNE:
        name = " ".join(f"{k} {v or 'none'}" for k, v in options.items())
        try:
            runs = race(section, **options)
        except Skip as why:
            section.bench.skip(section.name, f"{name}: {why}")
            continue
        cpu = {k: [r.cpu for r in v] for k, v in runs.items()}
        section.add((name or "as in qemu.py") + ", CPU time", "ms",
                    statistics.median(cpu["a"]), statistics.median(cpu["b"]))
