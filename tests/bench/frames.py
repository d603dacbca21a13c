# SPDX-License-Identifier: Apache-2.0
"""What frames cost the VMM on KVM: CPU time of all its threads but the vCPU's,
which polls, a frame of 60 bytes and a GB of frames of 64 KiB, sent to a tap
that drops them and taken from a packet socket; QEMU microvm with a tap beside
it. The payload is frames.c.

All in a network of its own, in a process that prints its samples as JSON: this
file again, as a program."""
import contextlib
import json
import socket
import statistics
import struct
import subprocess
import sys
import threading

import memory
import payload
import poll
import qemu
from measure import Goal, Skip

SMALL, LARGE, LARGE_LEN = 50000, 5000, 65226
GB = 1e9
TAP = "tap0"
PHASES = ("b", "c", "d", "e")
NAMES = (("frame of 60 bytes sent", SMALL, "us"),
         ("GB sent", LARGE * LARGE_LEN / GB, "ms"),
         ("frame of 60 bytes taken", SMALL, "us"),
         ("GB taken", LARGE * LARGE_LEN / GB, "ms"))
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NOTE = ("frames: batches of 32, merged buffers of 2 KiB; the vCPU's thread is "
        "left out on both sides")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def frame(length):
    """Virtio's header without num_buffers, Ethernet, IPv4, TCP: to nobody."""
    large = length > 2000
    header = struct.pack("<BBHHHH", large, large, 54 * large, 1448 * large,
                         34 * large, 16 * large)
    data = bytearray(length)
    data[0:14] = bytes([2] * 12) + b"\x08\x00"
    data[14:24] = struct.pack(">BBHHHBB", 0x45, 0, length - 14, 0, 0, 64, 6)
    data[46] = 0x50
    return header + bytes(data)


@contextlib.contextmanager
def flood(length):
    """Frames for the guest without end."""
    data, over = frame(length), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind((TAP, 0))
        sock.setblocking(False)

        def send():
            while not over.is_set():
                with contextlib.suppress(BlockingIOError, OSError):
                    sock.send(data)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def one(argv, vmm):
    """CPU time of each phase, in microseconds."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        try:
            poll.wait_for(child, b"a")
            pid = memory.children(child.pid)[0] if vmm else child.pid
            got = []
            for phase in PHASES:
                length = {"d": 60, "e": LARGE_LEN}.get(phase)
                before = poll.cpu_us(pid)
                with flood(length) if length else contextlib.nullcontext():
                    poll.wait_for(child, phase.encode())
                got.append(poll.cpu_us(pid) - before)
            if vmm:
                # It ends with this, and its VMM before it: then the tap is
                # free for the next.
                child.stdin.close()
                child.wait(poll.LIMIT)
            return got
        finally:
            child.kill()


def inside(sides, pairs):
    """In the network of our own."""
    ip("tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr")
    with open(f"/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6", "w",
              encoding="ascii") as f:
        f.write("1")
    ip("link", "set", TAP, "up")
    got = {side: [] for side in sides}
    for i in range(pairs):
        for side in sorted(sides, reverse=bool(i & 1)):
            got[side].append(one(*sides[side]))
    json.dump(got, sys.stdout)


def run(section):
    bench = section.bench
    payload.need_kvm()
    qemu.need()
    guest = bench.tool("frames")
    sides = {
        "mayfly": ([bench.tool("launch"), "kvm", bench.path("mayfly-vmm"),
                    guest, "hold", "-", TAP], True),
        "peer": (qemu.bare(guest, "kvm")
                 + ["-name", "bench,debug-threads=on", "-global",
                    "virtio-mmio.force-legacy=false", "-netdev",
                    f"tap,id=net,ifname={TAP},script=no,downscript=no,"
                    "vhost=off", "-device", "virtio-net-device,netdev=net"],
                 False),
    }
    child = subprocess.run(
        ["unshare", "-n", sys.executable, __file__],
        input=json.dumps([sides, section.pairs]), text=True,
        stdout=subprocess.PIPE, check=False)
    if child.returncode:
        raise Skip("no network of our own, or no tap in it, or no end")
    got = json.loads(child.stdout)
    for n, (name, count, unit) in enumerate(NAMES):
        scale = count * (1 if unit == "us" else 1000)
        a, b = ([x[n] / scale for x in got[s]] for s in ("mayfly", "peer"))
        section.add(f"kvm, QEMU microvm, {name}, VMM's CPU time", unit,
                    statistics.median(a), statistics.median(b),
                    goal=Goal("ratio", "<=", 1.0), note=NOTE,
                    ratio=statistics.median(x / y for x, y in zip(a, b)),
                    samples={"mayfly": a, "peer": b})


if __name__ == "__main__":
    inside(*json.load(sys.stdin))
