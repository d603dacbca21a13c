# SPDX-License-Identifier: Apache-2.0
"""What the seccomp filters cost a guest that does nothing but leave: the same
mayfly-vmm with and without them, until the guest's first byte."""
import os

from measure import Goal, Skip

NOTE = "seccomp: the peer is mayfly-vmm itself, without Landlock and seccomp"


def run(section):
    bench = section.bench
    for engine in ("soft", "kvm"):
        if engine == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise Skip("/dev/kvm cannot be opened here")
        payload = bench.tool("exits." + engine)
        runs = section.race(
            [bench.tool("launch"), engine, bench.path("mayfly-vmm"), payload],
            [bench.tool("launch"), engine, bench.tool("mayfly-vmm.unlocked"),
             payload], pairs=max(30, section.pairs))
        section.compare(f"{engine}, port exits, no filter", runs, ("first",),
                        goal=Goal("ratio", "<=", 1.02), note=NOTE)
