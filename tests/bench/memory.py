# SPDX-License-Identifier: Apache-2.0
"""What a VMM takes beside its guest's RAM, and what an idle guest costs."""
import os
import re
import subprocess
import time

import payload
from measure import Goal, Skip

MIB = 1 << 20
IDLE_S = 5


def mappings(pid):
    """(bytes, {field: KiB}) of each mapping."""
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if m:
                fields = {}
                yield int(m[2], 16) - int(m[1], 16), fields
            else:
                key, _, value = line.partition(":")
                if value.endswith("kB\n"):
                    fields[key] = int(value[:-3])


def beyond_ram(pid, ram):
    """MiB of Pss and of private dirty pages outside guest RAM."""
    pss = dirty = 0
    for size, f in list(mappings(pid)):
        if size >= ram:
            continue
        pss += f["Pss"]
        dirty += f["Private_Dirty"]
    return pss / 1024, dirty / 1024


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def cpu_s(pid):
    """CPU time of all of a process's threads, which all still live."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


class Guest:
    """A running mayfly whose guest has said its first word."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def __enter__(self):
        if not self.process.stdout.read(1):
            raise Skip(f"{self.process.args[0]}: no guest came up")
        self.pid = self.process.pid
        self.vmm = children(self.pid)[0]
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def add_memory(section, engine, guest, ram, limit):
    try:
        pss, dirty = beyond_ram(guest.vmm, ram)
    except PermissionError:
        raise Skip("/proc/PID/smaps of mayfly-vmm needs root") from None
    section.add(f"{engine}, VMM beyond guest RAM, Pss", "MiB", pss,
                goal=Goal("mayfly", "<=", limit))
    section.add(f"{engine}, VMM beyond guest RAM, private dirty", "MiB", dirty)


def soft(section):
    argv = [section.bench.path("mayfly"), "run", "--engine", "soft", "-m",
            "512", "--", "sh", "-c", "echo up; exec sleep 1000"]
    with Guest(argv) as guest:
        time.sleep(2)  # the boot's own stragglers
        add_memory(section, "soft", guest, 512 * MIB, 24)
        before = cpu_s(guest.vmm) + cpu_s(guest.pid)
        time.sleep(IDLE_S)
        used = cpu_s(guest.vmm) + cpu_s(guest.pid) - before
        section.add(f"soft, idle guest, CPU over {IDLE_S} s", "% of a core",
                    100 * used / IDLE_S, goal=Goal("mayfly", "<=", 2))


def kvm(section):
    bench = section.bench
    payload.need_kvm()
    with Guest([bench.tool("launch"), "kvm", bench.path("mayfly-vmm"),
                bench.tool("out"), "hold"]) as guest:
        add_memory(section, "kvm payload", guest, 64 * MIB, 4)


def run(section):
    soft(section)
    kvm(section)
