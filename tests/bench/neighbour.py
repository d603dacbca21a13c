# SPDX-License-Identifier: Apache-2.0
"""What a VM that burns all it can takes from another of the same weight:
alone and beside it in turn, on a CPU that they share, then on all there are.
On one CPU a ratio of 2 is what equal weights say; what the burning VM makes
others do for it (its launcher passes on its output, the kernel writes its
disk) comes on top: the goal leaves a tenth for it."""
import json
import os
import statistics
import subprocess
import tempfile

import memory
from measure import Goal, Skip

LIMIT = 120
MEMORY = "128"

MEASURED = {
    "CPU loop": "i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done",
    "disk writes": "for i in 1 2; do dd if=/dev/zero of=/file "
                   "bs=1M count=32 conv=fsync 2>/dev/null; rm /file; done",
}

# CPU, disk, memory (tmpfs) and output at a time.
BURN = ("echo up;"
        "(while :; do :; done) & "
        "(while :; do dd if=/dev/zero of=/big bs=1M count=256 conv=fsync; "
        "done) 2>/dev/null & "
        "(while :; do dd if=/dev/zero of=/tmp/big bs=1M count=48; done) "
        "2>/dev/null & "
        "exec yes")


class Drained(memory.Guest):
    """One whose output somebody takes, so that there is no end of it."""

    def __enter__(self):
        super().__enter__()
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout,
                                      stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.drain.wait()


def once(mayfly, script, meta):
    """Seconds from READY to the command's end, by the host's clock."""
    try:
        subprocess.run(mayfly + ["--meta", meta, "--", "sh", "-c", script],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       check=True, timeout=LIMIT)
    except subprocess.SubprocessError as why:
        raise Skip(f"the measured VM did not end: {why}") from None
    with open(meta, encoding="utf-8") as f:
        return json.load(f)["host"]["command_ms"] / 1000


def beside(mayfly, script, meta):
    with Drained(mayfly + ["--", "sh", "-c", BURN]):
        return once(mayfly, script, meta)


def compare(section, where, goal=None, options=()):
    pairs = max(3, section.pairs // 2)
    mayfly = [section.bench.path("mayfly"), "run", "--engine", "soft", "-m",
              MEMORY, *options]
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        meta = os.path.join(work, "meta")
        for what, script in MEASURED.items():
            samples = {once: [], beside: []}
            for i in range(pairs):
                for side in (once, beside) if i & 1 else (beside, once):
                    samples[side].append(side(mayfly, script, meta))
            a, b = samples[beside], samples[once]
            section.add(f"{what}, beside a burning VM | alone, {where}", "s",
                        statistics.median(a), statistics.median(b), goal=goal,
                        ratio=statistics.median(x / y for x, y in zip(a, b)),
                        samples={"beside": a, "alone": b})


def run(section):
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        compare(section, "one CPU", Goal("ratio", "<=", 2.2))
    finally:
        os.sched_setaffinity(0, cpus)
    if len(cpus) > 1:
        compare(section, f"{len(cpus)} CPUs")
        compare(section, f"{len(cpus)} CPUs, --cpus 1", None, ["--cpus", "1"])
