#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of tests/fuzz/corpus: inputs that get a target past its
first checks. An input that once broke something stays there beside them, under
a name that says what it did; those this script does not touch."""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def seed(target, name, data):
    directory = os.path.join(HERE, target)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "seed-" + name), "wb") as f:
        f.write(data)


def le(fmt, *v):
    return struct.pack("<" + fmt, *v)


# --- queue.c: where the ring is, what is in it ---------------------------

def desc(at, addr, length, flags=0, following=0):
    return le("BBHHB", flags, at, 0x8000 | addr // 16, length, following)


def avail(at, v):
    return le("BBH", 0x80, at, v)


def queue_seeds():
    place = bytes([4 << 1, 3, 9])  # 16 entries, INDIRECT and EVENT_IDX
    plain = desc(0, 0x4000, 100, 1, 1) + desc(1, 0x5000, 50, 3, 2) + \
        desc(2, 0x6000, 1, 2)
    seed("queue", "chain", place + plain + avail(2, 0) + avail(1, 1))
    seed("queue", "two", place + plain + avail(2, 0) + avail(3, 1) +
         avail(1, 2))
    indirect = desc(0, 0x3000, 32, 4) + desc(0, 0x4000, 16, 9, 1) + \
        desc(1, 0x5000, 16, 10)
    seed("queue", "indirect", place + indirect + avail(2, 0) + avail(1, 1))
    seed("queue", "loop", place + desc(0, 0x4000, 16, 1, 0) + avail(1, 1))
    seed("queue", "far", place + avail(1, 0x8000))


# --- device.h: steps of a driver -----------------------------------------

START, CHAIN, POKE, WRITE, READ, KICK, TURN, OWN, OWN2 = range(9)


def chain(queue, *segments):
    how = queue | (len(segments) - 1) << 4 | 0x80
    return bytes([CHAIN, how]) + b"".join(bytes(s) for s in segments)


def mmio_seeds():
    start = bytes([START, 0])
    seed("mmio", "entropy", start + chain(0, (0x80, 10)) + bytes([TURN]))
    life = bytearray()
    for reg, v in [(8, 1), (8, 3), (2, 1), (1, 1), (8, 11), (4, 16), (9, 0),
                   (11, 2), (13, 8), (5, 1), (8, 15), (6, 0), (7, 1), (8, 0)]:
        life += bytes([OWN, reg, v])
    seed("mmio", "life", bytes(life))
    seed("mmio", "widths", start + b"".join(
        bytes([READ]) + le("H", w << 13 | off)
        for w in range(3, 8) for off in (0, 0x70, 0xfc, 0x100, 0xfff)))
    seed("mmio", "broken", start + bytes([POKE]) + le("HB", 0x1002, 1) +
         le("H", 0x8000) + bytes([KICK, 0, TURN, START, 0]))


def blk_request(type_index, sector, how=0, data=b""):
    return bytes([OWN2, type_index | how, sector]) + data


def blk_time(hundred_ns):
    return bytes([OWN, 1]) + le("H", hundred_ns)


def blk_seeds():
    for ro in (0, 1):
        head = bytes([ro, START, 0])
        seed("blk", "read-%d" % ro, head + blk_request(0, 1, 0x10,
                                                       le("H", 64)))
        seed("blk", "write-%d" % ro, head + blk_request(1, 2, 0x10,
                                                        le("H", 32)))
    head = bytes([0, START, 0])
    seed("blk", "flush-id", head + blk_request(2, 0) +
         blk_request(3, 0, 8, bytes([0x81, 6])))
    for name, kind in (("discard", 4), ("zeroes", 5)):
        seed("blk", name, head + blk_request(kind, 0, 0x30, le(
            "QIIQII", 8, 8, kind - 4, 0, 0, 0) + le("H", 1)))
    seed("blk", "past-end", head + blk_request(0, 63, 0x10, le("H", 64)))
    seed("blk", "reset", head + blk_request(0, 0, 0x10, le("H", 2048)) +
         bytes([START, 0]) + blk_request(1, 0, 0x10, le("H", 32)))
    rw = b"".join(blk_request(i & 1, i * 7, 0x10, le("H", 64))
                  for i in range(6))
    for kind in range(4):
        for limit in (4, 8, 0x1c):
            seed("blk", "limit-%d-%d" % (kind, limit), bytes(
                [kind | limit, START, 0]) + rw + blk_time(0xffff) +
                bytes([START, 0]) + rw + blk_time(1) + blk_time(50000) * 4)
    seed("blk", "cow", bytes([2, START, 0]) + rw + blk_request(
        4, 0, 0x30, le("QIIQII", 3, 20, 0, 0, 0, 0) + le("H", 1)) +
        blk_request(5, 0, 0x30, le("QIIQII", 9, 13, 1, 0, 0, 0) +
                    le("H", 1)) + rw)


def device_seeds():
    transmit, arrive, offer, features, turn, away = range(OWN2, OWN2 + 6)
    for how in (0, 4, 3):
        head = bytes([how, START, 0])
        for v6 in (0, 1):
            seed("net", "send-%d-%d" % (how, v6), head + b"".join(
                bytes([transmit, v6 | size << 1 | kind, cut, turn])
                for size in range(2, 8)
                for kind, cut in ((0, 11), (0x20, 20), (0x30, 255),
                                  (0x60, 100))))
        for shape in range(8):
            seed("net", "take-%d-%d" % (how, shape), head + bytes(
                [offer, shape | 0x20 * (shape & 3), offer, shape | 8, offer,
                 shape | 0x18]) + b"".join(bytes(
                     [arrive, size, TURN, offer, shape, TURN])
                     for size in range(16)) + blk_time(0xffff) * 3)
    head = bytes([0, START, 0])
    seed("net", "sum", head + bytes([transmit, 0xa0 | 5 << 1, 1, 18, 40, 20,
                                     30, turn]))
    seed("net", "reset", head + bytes([arrive, 6, arrive, 6, TURN, offer, 6,
                                       START, 0, offer, 2, TURN]))
    for left_out in (1 << 15, 0x183, 0x1801):
        seed("net", "without-%x" % left_out, head + bytes([features]) +
             le("I", left_out) + bytes([offer, 0x1a, offer, 3]) + b"".join(
                 bytes([arrive, 0x30 | size, flags, kind, TURN])
                 for size in (4, 6) for flags in (0, 1, 2)
                 for kind in (0, 1, 4, 5)) +
             bytes([transmit, 0x60 | 6 << 1, 99, turn]))
    seed("net", "away", head + bytes([offer, 2, away, 1, TURN, transmit, 8, 20,
                                      turn, START, 0, transmit, 8, 20]))


def overlay_seeds():
    def op(what, sector, n, more=b""):
        return bytes([what]) + le("H", sector) + bytes([n]) + more
    fill = bytes([0x55, 3, 9])
    seed("overlay", "edges", b"".join(
        op(0, s, n, fill) for s in (0, 3, 7, 8, 1020, 1029)
        for n in (0, 1, 8, 12)) + op(6, 0, 23, b"\1\2"))
    seed("overlay", "holes", op(0, 4, 20, fill) + op(4, 6, 16) + op(
        5, 1, 9) + op(13, 30, 17) + op(6, 0, 23, b"\7\1") + op(
            0, 9, 2, fill))
    seed("overlay", "full", op(3, 60, 20, fill + le("H", 2000)) + op(
        0, 64, 7, fill) + op(3, 60, 20, fill + le("H", 2100)))


def vsock_packet(op, how=0, more=b"", flags=0):
    return bytes([OWN + 3, how, op | flags << 4]) + more


def vsock_seeds():
    head = bytes([0, OWN, 7])
    connect = head + vsock_packet(1)
    seed("vsock", "echo", connect + vsock_packet(5, 0x20, le("H", 500)) +
         bytes([OWN + 2, 0x00, 1, TURN, OWN + 2, 0x30, 9]))
    seed("vsock", "close", connect + vsock_packet(4, flags=3) +
         vsock_packet(3))
    seed("vsock", "host-closes", connect + bytes([OWN + 2, 0x70, 0, TURN]) +
         vsock_packet(3))
    seed("vsock", "dial", head + bytes([OWN + 1, 0, 0, TURN]) + vsock_packet(
        2, 0x10, bytes([0])) + vsock_packet(5, 0x30, le("BH", 0, 9)))
    seed("vsock", "credit", connect + vsock_packet(6, 12, le("II", 10, 5)) +
         vsock_packet(7) + vsock_packet(5, 0x20, le("H", 60000)) * 6)
    seed("vsock", "stray", head + vsock_packet(5) + vsock_packet(15) +
         vsock_packet(1, 0x80, bytes([12, 255])))


# --- the rest -----------------------------------------------------------

def serial_seeds():
    def w(reg, v):
        return bytes([4, 4 | reg << 3, v])

    def r(reg):
        return bytes([4, reg << 3])

    seed("serial", "line", b"".join(w(0, c) for c in b"hello\n"))
    seed("serial", "input", w(2, 1) + w(1, 15) + bytes([0, 201, 1]) +
         (r(2) + r(5) + r(0)) * 40 + bytes([1, 1]))
    seed("serial", "loopback", w(4, 16) + b"".join(
        w(0, i) for i in range(70)) + r(5) + r(0) + r(6) + w(4, 0))
    seed("serial", "divisor", w(3, 0x80) + w(0, 1) + w(1, 0) + r(0) + w(3, 3))
    seed("serial", "power", bytes([3, 36, 0xfe, 11, 4, 0x34, 2, 4, 0, 2, 9]))


def frame(kind, data):
    return le("IHH", len(data), kind, 0) + data


def string(s):
    return le("I", len(s)) + s + b"\0"


def wire_seeds():
    head = le("IIIHHQQII", 1, 2, 1, 24, 80, 1, 1 << 20, 100, 0)
    command = frame(2, head + b"".join(map(string, [
        b"/bin/sh", b"-c", b"A=b", b"/tmp", b"root"])))
    seed("wire", "host", bytes([1]) + command + frame(4, b"input") +
         frame(9, le("I", 15)) + frame(10, le("HH", 50, 132)) + frame(5, b""))
    seed("wire", "guest", bytes([0]) + frame(1, le("IIQ", 1, 0, 5)) +
         frame(3, le("IIQ", 7, 0, 9)) + frame(7, b"out") + frame(8, b"err") +
         frame(6, le("I", 5)) + frame(11, le("IIIIQQQQQQ", 1, 0, 0, 0, 1, 2,
                                             3, 4, 5, 6)))
    seed("wire", "mounts", bytes([1]) + b"".join(
        frame(12, le("IIQ", kind, number, size) + path + b"\0")
        for kind, number, size, path in (
            (1, 0, 1 << 20, b"/data"), (2, 0, 0, b"/a/b/"),
            (3, 7, 0, b"/v"), (4, 0, 0, b"/"))) + command + frame(14, b""))
    seed("wire", "mounted", bytes([0]) + frame(1, le("IIQQ", 4, 0, 5, 4)) +
         frame(13, le("II", 0, 0)) + frame(13, le("II", 20, 0)))
    dns = le("B3x16s", 4, bytes([198, 18, 0, 1]))
    ours, gateway = (bytes.fromhex("fd6d6179666c79") + bytes(8) + bytes([n])
                     for n in (2, 1))
    seed("wire", "net", bytes([1]) + frame(15, le(
        "II4s4s16s16sBBBB20s40s", 7, 1500, bytes([198, 18, 0, 2]),
        bytes([198, 18, 0, 1]), ours, gateway, 30, 64, 1, 0, dns, b"")) +
         command)
    seed("wire", "dial", bytes([1]) + frame(16, le("HH", 80, 1)))
    seed("wire", "dialed", bytes([0]) + frame(17, le("I", 111)))
    seed("wire", "no-argv", bytes([1]) + frame(2, le("IIIHHQQII", 0, 0, 0, 0,
                                                     0, 0, 0, 0, 0)))
    seed("wire", "long-string", bytes([5]) + frame(2, head + le(
        "I", 0xffffffff) + b"x"))


def relay_seeds():
    seed("relay", "some", bytes([0]) + b"".join(
        le("H", len(d)) + d for d in (b"one", b"", b"two" * 50)))
    seed("relay", "largest", bytes([255]) + le("H", 65535) + bytes(65535) +
         le("H", 1) + b"x")
    seed("relay", "cut", bytes([1]) + le("H", 300) + bytes(299))


def kernel_seeds():
    def elf(paddr, filesz, memsz, entry):
        return le("4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 2, 62, 1,
                  entry, 64, 0, 0, 64, 56, 1, 0, 0, 0) + le(
            "IIQQQQQQ", 1, 5, 0x78, paddr, paddr, filesz, memsz, 0x1000)

    code = b"\xf4" * 0x300
    seed("kernel", "elf", elf(0x100000, 0x300, 0x2000, 0x100010) + code)
    seed("kernel", "elf-low", elf(0x1000, 0x300, 0x2000, 0x1010) + code)
    seed("kernel", "elf-wraps", elf(0x100000, 0x300, 2**64 - 0x1000,
                                    0x100010) + code)
    seed("kernel", "elf-filesz", elf(0x100000, 0x300, 0x100, 0x100010) + code)
    bz = bytearray(0x400) + b"\xf4" * 0x300
    bz[0x1f1] = 1
    struct.pack_into("<I", bz, 0x1f4, 0x10)
    struct.pack_into("<H", bz, 0x1fe, 0xaa55)
    bz[0x200:0x202] = b"\xeb\x6a"
    struct.pack_into("<IH", bz, 0x202, 0x53726448, 0x20f)
    bz[0x211] = 1
    struct.pack_into("<I", bz, 0x22c, 0x7fffffff)
    struct.pack_into("<I", bz, 0x230, 0x1000)
    bz[0x234] = 1
    struct.pack_into("<H", bz, 0x236, 1)
    struct.pack_into("<I", bz, 0x238, 2047)
    struct.pack_into("<Q", bz, 0x258, 0x100000)
    struct.pack_into("<I", bz, 0x260, 0x10000)
    seed("kernel", "bzimage", bytes(bz))
    struct.pack_into("<I", bz, 0x260, 0x280)
    seed("kernel", "bzimage-small", bytes(bz))


def text_seeds():
    lines = {
        "all": "--memory=512m\n--cpus\n2\n-e\nA=b\n--engine=soft\n-i\n"
               "--timeout\n1h30m\n-w/tmp\n--\nls\n-l",
        "units": "-m\n1t\n--timeout=1.5s\n--timeout=500ms\n--timeout=7us\n"
                 "--memory=18446744073709551615k",
        "wrong": "--memroy\n1\n--cpus=0\n--engine=xen\n-x\n--interactive=no",
        "help": "--help",
    }
    for name, text in lines.items():
        seed("config", name, text.encode())
    passwd = b"root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:\n"
    group = b"root:x:0:\nstaff:x:50:me\n"
    for who in (b"", b"me", b"me:staff", b"1000:50", b"7", b"nobody",
                b"4294967295", b":staff"):
        seed("user", who.decode().replace(":", "-") or "none",
             who + b"\0" + passwd + b"\0" + group)
    seed("user", "long-home", b"me\0me:x:1:1::/" + b"h" * 300 + b":\n")
    seed("user", "odd", b"me\0me:x\nme\nme:x:99999999999:1:\n\0staff")


def other_seeds():
    seed("meta", "exit", le("iiii7QIi", 2, 3, 0, 0, *range(1, 8), 1, 0) +
         le("iiIIQ", 1, 0, 1, 0, 5) + le("IIIIQQQQQQ", 3, 0, 0, 0, 1, 2, 3, 4,
                                         5, 2**64 - 1) + b"\x01\x05broken")
    seed("meta", "not-utf8", bytes(250) + b"\xff\xfe\xc0\x80")
    code = {
        "modrm": "8b042548010000 0fb644d80a 488d0d11223344 c7840000010000aabb",
        "prefixes": "f3480fb8c1 66660f1f840000000000 f0480fb10a 64488b042500",
        "sse": "660f3a0fc105 660f38f0c2 f20f38f1c3 0f28c1 f30f5ac2 660f6ec0",
        "far": "48cf ff2d01000000 ea1122334455 9a1122334455 0f01f8 48a1"
               "1122334455667788",
        "long": "6666666666666666666666666666669090",
    }
    for name, text in code.items():
        seed("decode", name, bytes.fromhex(text))


def tree_entry(kind, name=b"", mode=0, size=0, data=b""):
    return le("HHIqIIQ", kind, len(name), mode, 0, 0, 0, size) + name + data


def tree_seeds():
    magic = b"mayftree"
    chunk = le("I", 5) + b"hello" + le("I", 0)
    up, end = tree_entry(4), lambda n: tree_entry(5, size=n)
    directory = magic + tree_entry(3, mode=0o755)
    seed("tree", "file", b"\0" + magic + tree_entry(1, mode=0o6644,
                                                    data=chunk) + end(1))
    seed("tree", "link", b"\0" + magic + tree_entry(2, size=4, data=b"/etc") +
         end(1))
    inside = tree_entry(1, b"a", 0o600, data=chunk) + tree_entry(
        2, b"l", size=6, data=b"../out") + tree_entry(3, b"d", 0o700) + up
    for how in (0, 1, 3, 5):
        seed("tree", "dir-%d" % how, bytes([how]) + directory + inside + up +
             end(4))
        seed("tree", "limited-%d" % how, bytes([how | 8]) + directory +
             inside + up + end(4))
    seed("tree", "through-link", b"\1" + directory + tree_entry(
        3, b"link", 0o755) + tree_entry(1, b"x", 0o644, data=chunk) + up +
        up + end(3))
    seed("tree", "dotdot", b"\1" + directory + tree_entry(3, b"..", 0o755))
    seed("tree", "spoilt", b"\0" + magic + tree_entry(
        1, mode=0o644, data=le("I", 1) + b"x" + le("I", 2**32 - 1)) + end(1))


def state_seeds():
    record = (b'{"format":1,"phase":"exited","id":"0123456789ab","name":"a",'
              b'"detached":true,"auto_remove":false,"tty":false,'
              b'"engine":"soft","cpus":1,"memory_bytes":536870912,"pid":7,'
              b'"created":"2026-11-20T10:00:00.000000001Z","started":null,'
              b'"ended":"2026-11-20T10:00:02.500000000Z","exit_code":0,'
              b'"verdict":"ok","command":["ls","-l"],"image":null}')
    seed("record", "exited", record)
    seed("record", "deep", b"[" * 300)

    def entry(stream, data):
        return le("HHIQ", 0x4a6c, stream, len(data), 10**18) + data

    def journal(number, *entries):
        return le("QQ", 0x316a796c6679616d, number) + b"".join(entries)

    old = journal(1, entry(1, b"one\ntwo"), entry(2, b"oops\n"))
    new = journal(2, entry(1, b"\n\xffthree\n"), entry(3, le("Q", 5)))
    for how in (0, 1, 2, 3):
        seed("journal", "two-%d" % how, bytes([how, 256 * len(old) // len(
            old + new) + 1]) + old + new)
    seed("journal", "half", b"\1\0" + new[:-3])
    seed("env", "lines", b"\xef\xbb\xbfA=1\r\n# no\n\n  B=2 \nHOME\nC=\n")
    seed("env", "wrong", b"A B=1\n")
    seed("env", "nul", b"A=1\0\n=x\n")


def session_seeds():
    def says(*kinds):
        return b"".join(bytes([6, k]) for k in kinds)

    # kinds: READY, STARTED, STDOUT, STDERR, ACK, EXIT, MOUNTED
    seed("session", "run", b"\0" + says(0, 1, 2, 3, 5))
    seed("session", "input", b"\1" + says(0, 1) + b"\xf2\5\3" + bytes(
        [6, 0x14, 255]) + b"\1\5" + says(5))
    seed("session", "disorder", b"\0" + says(5, 1, 0, 0, 4, 1))
    seed("session", "half", b"\0" + says(0) + bytes([6, 0x22, 3, 4]))
    seed("session", "mounts", b"\4" + says(0) + bytes([0x3f]) +
         says(6, 6, 6, 1) + bytes([0x0f]) + says(2, 5))
    seed("session", "mounted-early", b"\4" + says(0, 6) + bytes([0x1f]))
    seed("session", "mounted-late", b"\4" + says(0) + bytes([0x2f]) +
         says(6, 1, 6))
    seed("session", "raw", b"\0" + says(0) + bytes([6, 7, 8]) + frame(
        99, b""))


# --- merge.c: layers of entries ------------------------------------------

FILE, SYMLINK, HARDLINK, DIR, CHAR, _, FIFO, _, WHITEOUT, OPAQUE = range(1, 11)


def merge_path(text, whole=0):
    parts = ["a", "b", "c", "/", "/", "..", ".", "\xff"]
    out = []
    while text:
        n = 2 if text.startswith("..") else 1
        out.append(parts.index(text[:n]))
        text = text[n:]
    return bytes([len(out) | whole] + out)


def merge_entry(kind, path, link=None, how=0, xattrs=b"\0", whole=0):
    out = bytes([kind, how]) + merge_path(path, whole)
    if link is not None:
        out += merge_path(link)
    if kind < WHITEOUT:
        out += xattrs + le("H", 0o755)
        out += (le("I", 1000) if how & 1 else b"")
        out += (le("I", 999999999) if how & 2 else b"")
    if kind == FILE and how // 16 % 5:
        out += b"\1"
    if kind == CHAR:
        out += le("HI", 1, 3)
    return out


def merge_layer(*entries):
    return bytes([len(entries)]) + b"".join(entries)


def merge_seeds():
    e = merge_entry
    low = merge_layer(e(DIR, "", how=3), e(FILE, "a/b", how=0x20),
                      e(SYMLINK, "c", "/a"), e(FIFO, "c/c"), e(CHAR, "b"),
                      e(HARDLINK, "a/a", "c/b"))
    over = merge_layer(e(WHITEOUT, "a/b"), e(DIR, "a"), e(OPAQUE, "a"),
                       e(FILE, "c/b/a"), e(FILE, "b", how=0x40))
    seed("merge", "one", b"\1" + low)
    seed("merge", "two", b"\2" + low + over)
    seed("merge", "loop", b"\1" + merge_layer(
        e(SYMLINK, "a", "b"), e(SYMLINK, "b", "../a"), e(FILE, "a/c")))
    seed("merge", "long", b"\1" + merge_layer(
        e(DIR, "a/", whole=0x80), e(DIR, "b/", whole=0x80)))
    seed("merge", "xattrs", b"\1" + merge_layer(
        e(DIR, "a", xattrs=b"\x81\0" + le("H", 4000)),
        e(FILE, "b", xattrs=b"\2\x42" + le("H", 9) + b"\x40" + le("H", 0))))
    seed("merge", "raw", b"\1\x80\2" + le("H", 128) + le(
        "HHIIIIIqQQHHI", DIR, 0o755, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0) +
        b"a" + bytes(7) + le(
        "HHIIIIIqQQHHI", FILE, 0o644, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0) +
        b"a/b" + bytes(5))


# --- untar.c: how it comes, then a tar; layer.c: an index ----------------

def tar_header(name, kind=b"0", size=0, link=b"", gnu=False):
    h = bytearray(512)

    def put(at, data):
        h[at:at + len(data)] = data

    put(0, name)
    put(100, b"0000755\0" b"0000001\0" b"0000002\0")
    put(124, b"%011o\0" % size + b"00000000777\0" + b" " * 8 + kind + link)
    put(257, b"ustar  \0" if gnu else b"ustar\0" b"00")
    put(329, b"0000001\0" b"0000003\0")
    put(148, b"%06o\0" % sum(h))
    return bytes(h)


def tar_member(name, kind=b"0", data=b"", **more):
    return tar_header(name, kind, len(data), **more) + data + \
        bytes(-len(data) % 512)


def tar_pax(*records):
    text = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        n = len(body)
        while len(b"%d" % n) + len(body) != n:
            n = len(b"%d" % n) + len(body)
        text += b"%d" % n + body
    return tar_member(b"x", b"x", text)


def layer_index(*entries):
    body = b""
    for kind, path, link, xattrs, size, data in entries:
        e = le("HHIIIIIqQQHHI", kind, 0, 0, 0, 0, 0, 0, 0, size, data,
               len(path), len(link), len(xattrs)) + path + link + xattrs
        body += e + bytes(-len(e) % 8)
    return b"mflylay1" + le("QQQ", 8192, len(entries), 32 + len(body)) + body


def untar_seeds():
    end = bytes(1024)
    types = tar_member(b"./", b"5") + tar_member(b"f", data=b"data") + \
        tar_member(b"l", b"2", link=b"../f") + \
        tar_member(b"h", b"1", link=b"f") + tar_member(b"c", b"3")
    white = tar_member(b"d/.wh.x") + tar_member(b"d/.wh..wh..opq") + \
        tar_member(b".wh..wh.aufs") + tar_member(b".wh.")
    pax = tar_pax((b"path", "e\u0301".encode()), (b"mtime", b"-1.5"),
                  (b"SCHILY.xattr.user.b", b"v"),
                  (b"LIBARCHIVE.xattr.user.%61", b"YQ==")) + tar_member(b"f")
    sparse = tar_pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                     (b"GNU.sparse.realsize", b"9000")) + \
        tar_member(b"s", data=b"1\n5000\n4\n".ljust(512, b"\0") + b"abcd")
    names = tar_member(b"././@LongLink", b"L", b"long" * 30, gnu=True) + \
        tar_member(b"cut", gnu=True)
    image = tar_member(b"blobs/sha256/ab", data=b"blob") + \
        tar_member(b"1/l", b"2", link=b"../blobs/sha256/ab") + \
        tar_member(b"blobs/sha256/ab", data=b"again")
    for name, tar in (("types", types), ("white", white), ("pax", pax),
                      ("sparse", sparse), ("names", names)):
        seed("untar", name, b"\x2f" + tar + end)
    seed("untar", "bytes", b"\x20" + pax + end)
    seed("untar", "image", b"\x3f" + image + end)
    seed("untar", "leads-out", b"\x3f" + tar_member(
        b"a/l", b"2", link=b"../../out") + end)
    seed("untar", "cut", b"\x2f" + types[:1000])
    seed("layer", "types", layer_index(
        (4, b"", b"", b"", 0, 0), (1, b"a/f", b"", b"", 5000, 0),
        (2, b"a/l", b"/x", b"", 0, 0), (3, b"h", b"a/f", b"", 0, 0),
        (9, b"w", b"", b"", 0, 0), (10, b"", b"", b"", 0, 0)))
    seed("layer", "xattrs", layer_index(
        (1, b"f", b"", le("HH", 6, 1) + b"user.av" +
         le("HH", 6, 0) + b"user.b", 0, 0)))


def image_seeds():
    """Documents in the shapes that tools write: skopeo, docker, BuildKit."""
    def digest(c):
        return "sha256:" + c * 64

    def blob(kind, c, **rest):
        return dict(mediaType=kind, digest=digest(c), size=7, **rest)

    def document(name, reader, value):
        seed("manifest", name, bytes([reader]) +
             json.dumps(value, separators=(",", ":")).encode())

    oci = "application/vnd.oci.image."
    docker = "application/vnd.docker."
    ours = {"architecture": "amd64", "os": "linux"}
    theirs = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    manifest = oci + "manifest.v1+json"
    named = {"org.opencontainers.image.ref.name": "a"}
    beside = {"vnd.docker.reference.type": "attestation-manifest"}
    one = {"schemaVersion": 2, "manifests": [
        blob(manifest, "a", annotations=named)]}
    document("index", 0, one)
    document("index-by-name", 1, one)
    document("index-machines", 0, {
        "schemaVersion": 2,
        "mediaType": docker + "distribution.manifest.list.v2+json",
        "manifests": [
            blob(docker + "distribution.manifest.v2+json", "a",
                 platform=theirs),
            blob(docker + "distribution.manifest.v2+json", "b",
                 platform=ours),
            blob(docker + "distribution.manifest.v2+json", "c",
                 platform=dict(ours, variant="v3"))]})
    document("index-beside", 0, {"schemaVersion": 2, "manifests": [
        blob(oci + "index.v1+json", "a"),
        blob(manifest, "b", annotations=beside)]})
    document("manifest-oci", 2, {
        "schemaVersion": 2, "mediaType": manifest,
        "config": blob(oci + "config.v1+json", "c"),
        "layers": [blob(oci + "layer.v1.tar" + z, "d")
                   for z in ("", "+gzip", "+zstd")]})
    document("manifest-docker", 2, {
        "schemaVersion": 2,
        "mediaType": docker + "distribution.manifest.v2+json",
        "config": blob(docker + "container.image.v1+json", "c"),
        "layers": [blob(docker + "image.rootfs.diff.tar.gzip", "d")]})
    document("manifest-old", 2, {"schemaVersion": 1, "fsLayers": []})
    document("manifest-refused", 2, {
        "schemaVersion": 2, "config": blob(oci + "config.v1+json", "c"),
        "layers": [blob(oci + "layer.nondistributable.v1.tar", "d"),
                   blob(oci + "layer.v1.tar+encrypted", "e")]})
    run = {"Env": ["PATH=/bin", "A=b=c"], "Cmd": ["sh", "-c", "true"],
           "Entrypoint": None, "User": "app:1", "WorkingDir": "srv",
           "StopSignal": "SIGTERM", "Labels": {"a": "b"},
           "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}}
    rootfs = {"type": "layers", "diff_ids": [digest("d")]}
    document("config", 3, dict(ours, created="2023-05-04T17:37:03.87+02:00",
                               config=run, rootfs=rootfs))
    document("config-bare", 3, dict(ours, config={}, rootfs=rootfs))
    document("config-theirs", 3, dict(theirs, config=run, rootfs=rootfs))
    saved = [{"Config": "c.json", "RepoTags": ["a:latest"],
              "Layers": ["1/layer.tar", "2/layer.tar"]},
             {"Config": "blobs/sha256/c", "RepoTags": None,
              "Layers": ["blobs/sha256/d"]}]
    document("saved", 4, saved[1:])
    document("saved-by-name", 5, saved)
    document("record", 6, {
        "format": 1, "id": digest("a"), "source": "oci:dir", "created": None,
        "imported": "2026-11-21T09:30:00.123456789Z", "root_size": 8192,
        "config": run, "layers": [{
            "digest": digest("b"), "diff_id": digest("d"), "blob_size": 1,
            "data_size": 4096, "index_size": 32, "entries": 1}]})
    for name, text in (
            ("short", "debian"), ("tag", "docker://debian:12"),
            ("all", "localhost:5000/a/b:tag@" + digest("0")),
            ("six", "[::1]:5000/x"), ("signs", "h-o.st/a--b/c__d.e:A_.-9"),
            ("hub", "index.docker.io/library/x"), ("id", "a" * 64),
            ("file", "docker.io%2Flibrary%2Fdebian%3Alatest"),
            ("capital", "Foo/Bar"), ("long", "h.o/" + "a" * 251)):
        seed("reference", name, text.encode())


def net_seeds():
    for name, text in (
            ("names", "web.test:80\n*.Cdn.example.\n-ads.example\n_a.b"),
            ("networks", "10.0.0.0/8\n1.2.3.4:53\n-0.0.0.0/0\n8.0.0.0/5:1"),
            ("six", "[fd00::1]:443\n::/0\n-fd00::/8\n[64:ff9b::/96]"),
            ("broken", "10.0.0.1/8\n[::1\n::ffff:1.2.3.4\na:0\n*\n1.2.3"),
            ("injected", 'a"\na;drop\na}\n1.2.3.4 accept\n$(a)')):
        seed("allow", name, text.encode())
    seed("allow", "addresses", b"+x.y\n" + b"".join(
        bytes([f, 80, 0]) + a + bytes(16 - len(a)) for f, a in (
            (4, b"\x0a\0\0\1"), (4, b"\xa9\xfe\xa9\xfe"), (6, b"\xfd"),
            (4, b"\x08\x08\x08\x08"), (6, b"\x20\x02\x0a"), (9, b""))))


def learn_seeds():
    def ask(addr, port=0, ttl=60):
        return struct.pack("<BBHI16s", 6 if len(addr) > 4 else 4, 0, port, ttl,
                           addr)

    def say(wait, *asks):
        return bytes([wait, 6 * len(asks)]) + b"".join(asks)

    a, b = b"\x5d\xb8\xd8\x22", b"\x26\x06\x28" + bytes(13)
    seed("learn", "open", say(0, ask(a), ask(a, 443), ask(b), ask(b, 80)))
    seed("learn", "again", say(0, ask(a, 0, 600)) + say(9, ask(a)) +
         say(255, ask(a), ask(a, 0, 9000)) + say(255, ask(a)))
    seed("learn", "private", say(0, ask(b"\x0a\0\0\1"), ask(b"\x0a\1\0\1"),
                                 ask(b"\x08\x08\x08\x08"), ask(b"\xfd" + b)))
    seed("learn", "broken", say(0, b"\5" + ask(a)[1:]) + b"\0\1abcd")


def dns_name(text):
    return b"".join(bytes([len(x)]) + x.encode() for x in text.split(".")) + \
        b"\0"


def dns_seeds():
    def head(flags, *counts):
        return struct.pack(">6H", 7, flags, 1, *counts)

    def record(owner, kind, data):
        return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data

    ask = dns_name("www.Web.test") + b"\0\1\0\1"
    ask6 = dns_name("web.test") + b"\0\x1c\0\1"
    text = dns_name("web.test") + b"\0\x10\0\1"
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 7) + b"\0\12\0\3abc"
    back = b"\xc0\x0c"
    seed("dns", "query", b"\0" + head(0x100, 0, 0, 1) + ask + opt)
    seed("dns", "plain", b"\1" + head(0x120, 0, 0, 0) + ask6)
    for kind, back_to in (("back4", "4.3.2.1.in-addr.arpa"),
                          ("back6", "1." + 31 * "0." + "ip6.arpa")):
        seed("dns", kind, b"\0" + head(0x100, 0, 0, 0) + dns_name(back_to) +
             b"\0\x0c\0\1")
    seed("dns", "alias", b"\3" + head(0x8180, 2, 0, 1) + ask +
         record(back, 5, b"\1a" + b"\xc0\x10") +
         record(b"\1a\xc0\x10", 1, b"\1\2\3\4") + opt)
    seed("dns", "six", b"\1" + head(0x8180, 1, 0, 0) + ask6 +
         record(back, 28, bytes(range(16))))
    seed("dns", "none", b"\2" + head(0x8183, 0, 1, 0) + ask +
         record(b"\xc0\x14", 6, b"\1a\0\1b\0" + bytes(20)))
    seed("dns", "text", b"\1" + head(0x8180, 1, 1, 1) + text +
         record(back, 16, b"\4text") + record(back, 2, b"\1n\xc0\x0c") +
         record(b"\1n\xc0\x0c", 1, b"\1\2\3\4"))
    seed("dns", "cut", b"\3" + head(0x8380, 2, 0, 0) + ask +
         record(back, 1, b"\1\2\3\4") + back + b"\0\1\0")
    seed("dns", "many", b"\0" + head(0x8180, 60, 0, 0) + ask +
         60 * record(back, 1, b"\1\2\3\4"))


def forward_seeds():
    says = bytes([6, 0, 60, 1, 5, 6, 200])
    seed("forward", "listed", bytes([2, 0, 0, 0x41]) + says + bytes([8, 0]))
    seed("forward", "tcp", bytes([2, 3, 0, 4, 0, 1]) + says + bytes([8, 1, 2]))
    seed("forward", "other", bytes([0, 0, 0, 0x51, 6, 0, 60, 0]))
    seed("forward", "silent", bytes([0, 0, 0, 1, 3, 1, 4, 1, 1]) +
         3 * bytes([13, 3]))
    cut = bytes([6, 0, 60, 0x80, 9, 1])
    streams = bytes([11, 0, 60, 1, 5, 6, 200])
    seed("forward", "stream", bytes([0, 0, 0, 1]) + cut + streams)
    seed("forward", "stream-list", bytes([2, 0, 0, 1]) + cut + streams +
         bytes([8, 0]))
    seed("forward", "stream-tcp", bytes([0, 3, 0, 4, 0, 0x11]) + cut +
         bytes([11, 2, 60, 0, 1, 11, 0, 60, 0]))
    seed("forward", "stream-late", bytes([0, 0, 0, 1, 6, 0, 60, 0x81, 5, 6, 7,
                                          13, 1, 9, 1, 11, 0, 60, 0]))
    seed("forward", "stream-none", bytes([0, 0, 0, 1, 6, 0, 60, 0x81, 5, 6, 7,
                                          9, 2]))
    seed("forward", "alias", bytes([0, 0, 0, 1, 6, 0, 60, 0x11, 5, 6, 7]))


def launcher_seeds():
    seed("console", "panic", b"\1[    0.1] hello\r\n[    0.2] Kernel panic - "
         b"not syncing: why\r\n[    0.3] CPU: 0\r\n---[ end Kernel panic")
    seed("console", "agent", b"\377mayfly-agent: mount /: \x1b[31mno\n")
    seed("ctl", "boot", bytes([0, 3, 0]) + bytes([0, 3, 0x11, 7, 0, 2]))
    seed("ctl", "short", bytes([0, 3, 0x20, 100, 0]))
    seed("ctl", "events", b"".join(bytes([1, t << 1 | s << 5]) + bytes(8) +
                                   b"\1" for t in (2, 3, 4, 6)
                                   for s in (0, 1, 4)))
    seed("ctl", "words", b"".join(bytes([2, t, n]) for t in (0, 1, 5, 7, 8)
                                  for n in (3, 8, 9)))


if __name__ == "__main__":
    for make in (queue_seeds, mmio_seeds, blk_seeds, overlay_seeds, vsock_seeds,
                 serial_seeds, wire_seeds, relay_seeds, kernel_seeds, text_seeds,
                 other_seeds, tree_seeds, state_seeds,
                 session_seeds, merge_seeds, untar_seeds, image_seeds,
                 launcher_seeds, net_seeds, learn_seeds, dns_seeds, device_seeds,
                 forward_seeds):
        make()
