# SPDX-License-Identifier: Apache-2.0
"""What a 4 KiB read costs the VMM on KVM: CPU time of all its threads but the
vCPU's, which polls, over 20,000 reads of a payload that asks for no interrupt;
QEMU microvm with aio=threads beside it."""
import os
import selectors
import statistics
import subprocess
import tempfile
import time

import memory
import payload
import qemu
from measure import Goal, Skip

READS = 20000
DISK = 64 << 20
LIMIT = 60
VCPU = ("vcpu", "CPU ")
NOTE = ("poll: one request at a time, random 4 KiB of a 64 MiB file in the "
        "page cache; the vCPU's thread is left out on both sides")


def cpu_us(pid):
    """CPU time of a process's threads but the vCPU's, in microseconds."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        at = f"/proc/{pid}/task/{tid}"
        with open(at + "/comm", encoding="ascii") as f:
            if f.read().startswith(VCPU):
                continue
        with open(at + "/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e3


def wait_for(child, word):
    end = time.monotonic() + LIMIT
    sel = selectors.DefaultSelector()
    sel.register(child.stdout, selectors.EVENT_READ)
    while sel.select(max(0, end - time.monotonic())):
        data = os.read(child.stdout.fileno(), 1)
        if data == word:
            return
        if not data or data == b"?":
            raise Skip(f"{child.args[0]}: the payload found no disk, or "
                       "reading it failed")
    raise Skip(f"{child.args[0]}: no end after {LIMIT} s")


def one(argv, vmm):
    """(VMM's CPU us, wall us) a read; @vmm: the VMM is a child of argv."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        try:
            wait_for(child, b"a")
            pid = memory.children(child.pid)[0] if vmm else child.pid
            cpu, wall = cpu_us(pid), time.monotonic()
            wait_for(child, b"b")
            return ((cpu_us(pid) - cpu) / READS,
                    (time.monotonic() - wall) * 1e6 / READS)
        finally:
            child.kill()


def run(section):
    bench = section.bench
    payload.need_kvm()
    qemu.need()
    guest = bench.tool("poll")
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        disk = os.path.join(work, "disk")
        with open(disk, "wb") as f:
            for _ in range(DISK >> 20):
                f.write(os.urandom(1 << 20))
        sides = {
            "mayfly": ([bench.tool("launch"), "kvm", bench.path("mayfly-vmm"),
                        guest, "hold", disk], True),
            "peer": (qemu.bare(guest, "kvm")
                     + ["-name", "bench,debug-threads=on", "-global",
                        "virtio-mmio.force-legacy=false",
                        *qemu.disk("disk", disk, "readonly=on",
                                   "aio=threads")], False),
        }
        got = {side: [] for side in sides}
        for i in range(section.pairs):
            for side in sorted(sides, reverse=bool(i & 1)):
                got[side].append(one(*sides[side]))
    for n, (name, goal) in enumerate((("VMM's CPU time", 0.5),
                                      ("time", None))):
        a, b = ([x[n] for x in got[s]] for s in ("mayfly", "peer"))
        section.add(f"kvm, QEMU microvm, 4 KiB read, {name}", "us",
                    statistics.median(a), statistics.median(b),
                    goal=goal and Goal("ratio", "<=", goal), note=NOTE,
                    ratio=statistics.median(x / y for x, y in zip(a, b)),
                    samples={"mayfly": a, "peer": b})
