# SPDX-License-Identifier: Apache-2.0
"""What the seccomp filters cost a guest that does nothing but leave: the same
mayfly-vmm with and without them, until the guest's first byte.

The one without is a copy whose lock_landlock() and lock_seccomp() return at
once: another build would have its loops at other addresses, which alone makes
more of a difference than what is measured."""
import os
import struct
import subprocess
import tempfile

from measure import Goal, Skip

NOTE = "seccomp: the peer is mayfly-vmm itself, without Landlock and seccomp"
RETURN_0 = b"\x31\xc0\xc3"  # xor %eax,%eax; ret
PT_LOAD = 1


def file_offset(elf, address):
    """Where in the file what is at this address comes from: elf(5)."""
    phoff, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, offset, vaddr, _, filesz = struct.unpack_from(
            "<IIQQQQ", elf, phoff + i * size)
        if kind == PT_LOAD and vaddr <= address < vaddr + filesz:
            return offset + address - vaddr
    raise Skip(f"mayfly-vmm has nothing at {address:#x}")


def unlocked(vmm, path):
    symbols = subprocess.run(["nm", vmm], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.splitlines()
    with open(vmm, "rb") as f:
        elf = bytearray(f.read())
    for name in "lock_landlock", "lock_seccomp":
        where = [line.split()[0] for line in symbols
                 if line.split()[1:] == ["T", name]]
        if not where:
            raise Skip(f"mayfly-vmm has no symbol {name}")
        at = file_offset(elf, int(where[0], 16))
        elf[at:at + len(RETURN_0)] = RETURN_0
    with open(path, "wb") as f:
        f.write(elf)
    os.chmod(path, 0o755)


def run(section):
    bench = section.bench
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        peer = os.path.join(work, "mayfly-vmm")
        unlocked(bench.path("mayfly-vmm"), peer)
        for engine in ("soft", "kvm"):
            if engine == "kvm" and not os.access("/dev/kvm",
                                                 os.R_OK | os.W_OK):
                raise Skip("/dev/kvm cannot be opened here")
            payload = bench.tool("exits." + engine)
            runs = section.race(
                [bench.tool("launch"), engine, bench.path("mayfly-vmm"),
                 payload],
                [bench.tool("launch"), engine, peer, payload],
                pairs=max(30, section.pairs))
            section.compare(f"{engine}, port exits, no filter", runs,
                            ("first",), goal=Goal("ratio", "<=", 1.02),
                            note=NOTE)
