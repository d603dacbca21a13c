# SPDX-License-Identifier: Apache-2.0
"""The peer: QEMU's microvm, at its best, on our kernel and our images.

How its configuration was found (`make bench BENCH=tune`, QEMU 7.2, -accel tcg,
Linux 6.12; median CPU time of a whole run, which noise moves least; mayfly's
beside it was 210 ms):
  - 659 ms: MACHINE, CPU and tsc_early_khz as below. 677 with the PIC, 717
    with PIC and PIT, 635 with x-option-roms=on: noise is 40.
  - tsc_early_khz spares the guest its calibration against the PIT: without it
    803 ms with acpi=off; with acpi=on that fails on a busy host, and with it
    the boot. The value is the host's: TCG's TSC is the host's.
  - acpi=off 723 ms. rtc=off 1705 ms: the guest waits for it.
  - -cpu Nehalem, qemu64 or max without smap, -accel tcg's thread=single and
    tb-size: 654 to 724 ms, no difference that can be told from noise.
On -accel kvm within emulated SVM acpi=on does not come to its first line;
there it is acpi=off. PIT and PIC make no difference.
"""
import shutil

from measure import Skip

PROGRAM = "qemu-system-x86_64"
# QEMU's monitor, network and display would only cost time.
BARE = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio"]
MACHINE = "acpi=on,x-option-roms=off,pit=off,pic=off"
CPU = "max"
KVM_MACHINE = "acpi=off,x-option-roms=off,pit=off,pic=off"


def need():
    if not shutil.which(PROGRAM):
        raise Skip(f"{PROGRAM} not found; install package qemu-system-x86")


def disk(name, path, *options):
    spec = ",".join(("if=none", f"id={name}", "format=raw", f"file={path}")
                    + options)
    return ["-drive", spec, "-device", f"virtio-blk-device,drive={name}"]


def linux(kernel, initrd, root, scratch, command, machine=MACHINE, cpu=CPU,
          accel="tcg", append="", memory=512):
    """A guest that mayfly would run @command in: same kernel, memory, disks
    and mounts; the output comes over the serial port. See init.c."""
    words = "console=ttyS0 reboot=k panic=-1 quiet " + append
    return [PROGRAM, *BARE, "-M", "microvm," + machine, "-accel", accel,
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
