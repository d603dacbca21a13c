# SPDX-License-Identifier: Apache-2.0
"""The peer: QEMU's microvm, at its best, on our kernel and our images.

How its configuration was found (`make bench BENCH=tune`, QEMU 7.2, -accel tcg,
Linux 6.12; CPU ms of a whole run, which noise moves least):
  - acpi=on is at least as fast as acpi=off, and needs no words on the command
    line for its disks.
  - tsc_early_khz spares the guest its calibration against the PIT, which
    under TCG costs 150 ms, or fails on a busy host and with it the boot. The
    value is the host's: TCG's TSC is the host's.
  - With that the PIT is of no use: pit=off. So is the PIC with ACPI.
  - -cpu max, Nehalem and qemu64 boot alike, and so do -accel tcg's
    thread=single and tb-size.
  - x-option-roms=off starts the small firmware (qboot).
"""
import shutil

from measure import Skip

PROGRAM = "qemu-system-x86_64"
# QEMU's monitor, network and display would only cost time.
BARE = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio"]
MACHINE = "acpi=on,x-option-roms=off,pit=off,pic=off"
CPU = "max"


def need():
    if not shutil.which(PROGRAM):
        raise Skip(f"{PROGRAM} not found; install package qemu-system-x86")


def tsc_khz():
    """The frequency of the host's TSC; 0: not known."""
    with open("/proc/cpuinfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("cpu MHz"):
                return round(float(line.split(":")[1]) * 1000)
    return 0


def disk(name, path, *options):
    spec = ",".join(("if=none", f"id={name}", "format=raw", f"file={path}")
                    + options)
    return ["-drive", spec, "-device", f"virtio-blk-device,drive={name}"]


def linux(kernel, initrd, root, scratch, command, machine=MACHINE, cpu=CPU,
          accel="tcg", append=None, memory=512, program=PROGRAM):
    """A guest that mayfly would run @command in: same kernel, memory, disks
    and mounts; the output comes over the serial port. See init.c."""
    if append is None:
        append = f"tsc_early_khz={tsc_khz()}"
    words = "console=ttyS0 reboot=k panic=-1 quiet " + append
    return [program, *BARE, "-M", "microvm," + machine, "-accel", accel,
            "-cpu", cpu, "-m", str(memory), "-kernel", kernel,
            "-initrd", initrd, "-append", f'{words} command="{command}"',
            *disk("root", root, "readonly=on"),
            # nobody needs it after a power failure
            *disk("scratch", scratch, "cache=unsafe"),
            "-device", "i8042"]


def bare(kernel, accel):
    """A payload that ends by port 0xf4."""
    return [PROGRAM, *BARE, "-M",
            "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=off",
            "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
            "-m", "64", "-kernel", kernel,
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
