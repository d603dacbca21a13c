# SPDX-License-Identifier: Apache-2.0
"""Networks of guests on soft and on QEMU's TCG: iperf3 both ways and ping, the
same guest behind the same fence and NAT; and what it takes to set one up.

All runs in namespaces of its own (net_world.py), in a process that prints its
samples as JSON: this file again, as a program."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import boot
import disk
import net_image
import net_world
import qemu
from measure import Goal, Skip

SECONDS = 3
AT_ONCE = 20
UNITS = {"guest sends": "Gbit/s", "guest receives": "Gbit/s", "ping RTT": "us"}
NOTE = ("net: the guest's streams are measured by iperf3's server, on the "
        "host; RTT is the mean of 500 pings by the guest's clock")


def ours(paths, command, *options):
    return [paths["mayfly"], "run", "--engine", "soft", "--net", "--rootfs",
            paths["image"], *options, "--", *command.split()]


def theirs(world, paths, scratch):
    command = (f"/bin/sh /net.sh {SECONDS} {net_world.SERVER} "
               f"{net_world.GUEST} {net_world.GATEWAY}")
    argv = qemu.linux(paths["kernel"], paths["init"], paths["image"], scratch,
                      command, append=paths["append"])
    return [*world.enter("peer"), *argv, "-netdev",
            "tap,id=net,ifname=tap0,script=no,downscript=no,vhost=off",
            "-device", "virtio-net-device,netdev=net,mac="
            + net_world.GUEST_MAC]


def check_clock(name, marks):
    """Marks may come late on a busy host, which says nothing of the RTT."""
    host, guest = (marks["ping-end"][i] - marks["ping-begin"][i]
                   for i in (0, 1))
    if not 0.5 < guest / host < 2:
        raise Skip(f"{name}: pings took {guest:.2f} s of the guest's clock, "
                   f"{host:.2f} s of the host's")


def sample(world, argv):
    """One guest's {name: value}."""
    marks, text = {}, []
    with world.servers() as servers:
        for now, line in disk.lines_of(argv):
            words = line.split()
            if words[:1] == ["mark"] and len(words) == 3:
                marks[words[1]] = now, float(words[2])
            else:
                text.append(line)
        if "done" not in text:
            raise Skip(f"{argv[0]}: did not end: " + " ".join(text)[-300:])
        rates = (net_world.gbits(servers[0], "sum_received"),
                 net_world.gbits(servers[1], "sum_sent"))
    check_clock(argv[0], marks)
    found = re.search(r" = [\d.]+/([\d.]+)/", "\n".join(text))
    if not found or " 0% packet loss" not in "\n".join(text):
        raise Skip("ping: " + " ".join(text)[-300:])
    return dict(zip(UNITS, (*rates, float(found[1]) * 1000)))


def fence(paths):
    """The tables that a VM's namespace has, as nft prints them."""
    with subprocess.Popen(ours(paths, "sleep 100"),
                          stdin=subprocess.DEVNULL) as run:
        try:
            return find_fence()
        finally:
            run.terminate()


def find_fence():
    own = os.stat("/proc/self/ns/net").st_ino
    for _ in range(200):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            ns = f"/proc/{pid}/ns/net"
            try:
                if os.stat(ns).st_ino == own:
                    continue
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if "mayfly-net" not in f.read():
                        continue
            except OSError:
                continue
            done = subprocess.run(["nsenter", "--net=" + ns, "nft", "list",
                                   "ruleset"], text=True,
                                  capture_output=True, check=False)
            if "tap0" in done.stdout:
                return done.stdout
    raise Skip("no namespace of a VM is found")


def compare(world, paths, pairs):
    samples = {"mayfly": [], "peer": []}
    scratch = os.path.join(world.work, "scratch.img")
    argv = {"mayfly": ours(
                paths, f"/bin/sh /net.sh {SECONDS} {net_world.SERVER}"),
            "peer": theirs(world, paths, scratch)}
    for i in range(pairs):
        for side in sorted(argv, reverse=bool(i & 1)):
            subprocess.run(boot.scratch_prepare(paths["scratch"], scratch),
                           shell=True, check=True)
            samples[side].append(sample(world, argv[side]))
    return samples


def set_up(paths, times):
    """So many at once: each one's ms, from its network's begin to its fence."""
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        files = [os.path.join(work, str(i)) for i in range(times)]
        runs = [subprocess.Popen(ours(paths, "busybox true", "--meta", f),
                                 stdin=subprocess.DEVNULL) for f in files]
        if any([run.wait() for run in runs]):
            raise Skip("a run of many failed; see above")
        return [setup_ms(f) for f in files]


def setup_ms(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)["host"]["network"]["setup_ms"]


def run_ms(argv):
    begin = time.monotonic()
    if subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode:
        raise Skip(" ".join(argv) + ": it failed; see above")
    return (time.monotonic() - begin) * 1000


def with_and_without(paths, pairs):
    """Whole runs of `true`: what a network adds to one."""
    argv = {"with": ours(paths, "busybox true")}
    argv["without"] = [a for a in argv["with"] if a != "--net"]
    found = {side: [] for side in argv}
    for i in range(2 * pairs):
        for side in sorted(argv, reverse=bool(i & 1)):
            found[side].append(run_ms(argv[side]))
    return found


def main(paths):
    """In namespaces that nobody else has."""
    try:
        with net_world.world() as world, \
                tempfile.TemporaryDirectory(prefix="mayfly-bench.") as state:
            os.environ["MAYFLY_STATE_DIR"] = state
            world.peer(fence(paths))
            found = compare(world, paths, paths["pairs"])
            found["run"] = with_and_without(paths, 5 * paths["pairs"])
            found["one"] = sum((set_up(paths, 1) for _ in range(30)), [])
            found["many"] = [set_up(paths, AT_ONCE) for _ in range(3)]
    except Skip as why:
        found = {"skip": str(why)}
    json.dump(found, sys.stdout)


def apart(paths):
    done = subprocess.run(
        ["unshare", "-nm", "--propagation", "private", sys.executable,
         os.path.abspath(__file__), json.dumps(paths)],
        stdout=subprocess.PIPE, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise Skip("it failed; see above") from None
    if "skip" in found:
        raise Skip(found["skip"])
    return found


def run(section):
    bench = section.bench
    qemu.need()
    if os.geteuid() != 0:
        raise Skip("only root can have the namespaces")
    found = apart({
        "mayfly": bench.path("mayfly"), "image": net_image.image(),
        "kernel": bench.guest("vmlinux"), "init": bench.tool("init.cpio"),
        "scratch": bench.guest("scratch.img"),
        "append": bench.tsc_early_khz(), "pairs": max(3, section.pairs // 2)})
    for name, unit in UNITS.items():
        a, b = ([one[name] for one in found[side]]
                for side in ("mayfly", "peer"))
        section.add(f"soft, QEMU TCG, {name}", unit, statistics.median(a),
                    statistics.median(b), note=NOTE,
                    goal=Goal("ratio", "<=" if unit == "us" else ">=", 1),
                    ratio=statistics.median(x / y for x, y in zip(a, b)),
                    samples={"mayfly": a, "peer": b})
    a, b = found["run"]["with"], found["run"]["without"]
    section.add("a run of true with --net, without", "ms", statistics.median(a),
                statistics.median(b), samples={"mayfly": a, "peer": b},
                ratio=statistics.median(x / y for x, y in zip(a, b)))
    times = {"alone": found["one"], f"{AT_ONCE} at once": sum(found["many"], []),
             f"{AT_ONCE} at once, the last's by {AT_ONCE}":
             [max(batch) / AT_ONCE for batch in found["many"]]}
    for (name, ms), goal in zip(times.items(), (15, 25, None)):
        section.add(f"set-up of a network, {name}", "ms", statistics.median(ms),
                    goal=goal and Goal("mayfly", "<=", goal),
                    samples={"mayfly": ms})



if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
