# SPDX-License-Identifier: Apache-2.0
"""Disks of guests on soft and on QEMU's TCG: fio and tar in the same guest,
on the same root image and an equal scratch disk."""
import json
import os
import selectors
import statistics
import subprocess
import tempfile
import time

import boot
import disk_image
import qemu
from measure import Goal, Skip

LIMIT = 300
SECONDS = 3
PARTS = ["seq-write", "seq-read", "rand-qd1", "rand-qd16", "root-qd1",
         "root-qd16", "root-read", "untar"]
# How far the guest's clock may be from the host's over a part.
CLOCK_SLACK = (0.02, 0.1)


def lines_of(argv):
    """(host's time, line) of a command's stdout, until its end."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as child:
        end = time.monotonic() + LIMIT
        sel = selectors.DefaultSelector()
        sel.register(child.stdout, selectors.EVENT_READ)
        rest = b""
        while sel.select(max(0, end - time.monotonic())):
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                return
            now = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield now, line.decode(errors="replace").rstrip("\r")
        child.kill()
        raise Skip(f"{argv[0]}: no end after {LIMIT} s")


def one(argv):
    """Marks {name: (host's s, guest's s)} and fio's jobs {name: dict}."""
    marks, jobs, text = {}, {}, []
    for now, line in lines_of(argv):
        words = line.split()
        if words[:1] == ["mark"] and len(words) == 3:
            marks[words[1]] = now, float(words[2])
            if text and words[1].endswith("-end"):
                job = parse_fio("\n".join(text))
                jobs[job["jobname"]] = job
            text = []
        else:
            text.append(line)
    if "done" not in marks:
        raise Skip(f"{argv[0]}: did not end: " + " ".join(text)[-300:])
    return marks, jobs


def parse_fio(text):
    try:
        return json.loads(text[text.index("{"):])["jobs"][0]
    except ValueError:
        raise Skip("fio failed: " + text[-300:]) from None


def check_clock(name, marks, begin, end):
    host, guest = (marks[end][i] - marks[begin][i] for i in (0, 1))
    share, least = CLOCK_SLACK
    if abs(host - guest) > host * share + least:
        raise Skip(f"{name}: the guest's clock says {guest:.2f} s, "
                   f"the host's {host:.2f} s")
    return host


def results(argv):
    """{name: (value, unit)}; more is better but where the unit is s."""
    marks, jobs = one(argv)
    found = {}
    for name, job in jobs.items():
        host = check_clock(argv[0] + " " + name, marks, name + "-begin", name + "-end")
        side = job["write" if "write" in name else "read"]
        if side["runtime"] / 1000 > host or not side["total_ios"]:
            raise Skip(f"{name}: fio's {side['runtime']} ms in {host:.2f} s")
        found[name] = ((side["iops"], "IOPS") if "-qd" in name else
                       (side["bw"] * 1024 / 1e6, "MB/s"))
    if "untar-begin" in marks:
        found["untar"] = check_clock("untar", marks, "untar-begin",
                                     "untar-end"), "s"
        found["untar-sync"] = check_clock("untar", marks, "untar-begin",
                                          "sync-end"), "s"
    return found


def sides(bench, image, scratch, parts, **qemu_options):
    command = f"/bin/sh /disk.sh {SECONDS} " + " ".join(parts)
    return {
        "mayfly": [bench.path("mayfly"), "run", "--engine", "soft",
                   "--rootfs", image, "--", *command.split()],
        "peer": qemu.linux(bench.guest("vmlinux"), bench.tool("init.cpio"),
                           image, scratch, command,
                           append=bench.tsc_early_khz(), **qemu_options),
    }


def run(section, parts=PARTS, **qemu_options):
    bench = section.bench
    qemu.need()
    image = disk_image.image()
    samples = {"mayfly": {}, "peer": {}}
    units = {}
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        scratch = os.path.join(work, "scratch.img")
        argv = sides(bench, image, scratch, parts, **qemu_options)
        for i in range(max(2, section.pairs // 3)):
            for side in sorted(argv, reverse=bool(i & 1)):
                subprocess.run(boot.scratch_prepare(
                    bench.guest("scratch.img"), scratch), shell=True,
                    check=True)
                for name, (value, unit) in results(argv[side]).items():
                    samples[side].setdefault(name, []).append(value)
                    units[name] = unit
    for name, unit in units.items():
        a, b = samples["mayfly"][name], samples["peer"][name]
        section.add(f"soft, QEMU TCG, {name}", unit, statistics.median(a),
                    statistics.median(b),
                    goal=Goal("ratio", "<=" if unit == "s" else ">=", 1),
                    ratio=statistics.median(x / y for x, y in zip(a, b)),
                    samples={"mayfly": a, "peer": b})
