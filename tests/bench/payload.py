# SPDX-License-Identifier: Apache-2.0
"""From exec to the first byte out of a guest of three instructions, on KVM.

`launch` starts mayfly-vmm as the launcher does, without the probe: a host
whose KVM it refuses runs such a payload all the same."""
import os

import qemu
from measure import Skip

NOTE = ("payload: launcher's machine code and mayfly-vmm without the probe; "
        "QEMU's side has its firmware in it, and ends by isa-debug-exit")


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("/dev/kvm cannot be opened here")


def run(section):
    bench = section.bench
    need_kvm()
    qemu.need()
    out = bench.tool("out")
    runs = section.race([bench.tool("launch"), "kvm",
                         bench.path("mayfly-vmm"), out],
                        qemu.bare(out, "kvm"))
    section.compare("kvm, one out, QEMU microvm", runs,
                    ("first", "exit", "cpu"), note=NOTE)
