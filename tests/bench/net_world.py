# SPDX-License-Identifier: Apache-2.0
"""Networks for the section `net`, in namespaces that go with this process: a
host, a world with the servers, and what a guest on QEMU has instead of what
`mayfly run --net` makes.

QEMU's namespace is like a VM's of ours: tap0 and up0 with the same addresses,
and the tables that ours has, as nft lists them there. Its end on the host is
named as ours are, so the host's rules are the same for both."""
import contextlib
import json
import os
import subprocess
import tempfile
import time

from measure import Skip

SERVER = "93.184.216.1"
HOST = "93.184.216.2"
# Of mayfly's pool, where no lease of these few runs comes to.
UPLINK, UPLINK_HOST = "198.19.255.1", "198.19.255.0"
GUEST, GATEWAY = "198.18.0.2/30", "198.18.0.1"
GUEST_MAC = "02:6d:61:79:66:02"


def sh(*argv, **more):
    done = subprocess.run(argv, text=True, capture_output=True, check=False,
                          **more)
    if done.returncode:
        raise Skip(f"{' '.join(argv)}: {done.stderr.strip()[-300:]}")
    return done.stdout


class World:
    """Call it in a mount and network namespace of your own."""

    def __init__(self, work):
        self.work = work
        self.netns("world")
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "wan0", "type", "veth", "peer", "name",
           "lan0", "netns", self.ns("world"))
        sh("ip", "addr", "add", HOST + "/24", "dev", "wan0")
        sh("ip", "link", "set", "wan0", "up")
        self.within("world", "ip", "addr", "add", SERVER + "/24", "dev",
                    "lan0")
        self.within("world", "ip", "link", "set", "lan0", "up")
        sh("ip", "route", "add", "default", "via", SERVER)

    def ns(self, name):
        return os.path.join(self.work, name)

    def netns(self, name):
        with open(self.ns(name), "w", encoding="ascii"):
            pass
        sh("unshare", "--net=" + self.ns(name), "true")

    def enter(self, name):
        return ["nsenter", "--net=" + self.ns(name)]

    def within(self, name, *argv, **more):
        return sh(*self.enter(name), *argv, **more)

    def peer(self, tables):
        """QEMU's namespace, with tables that nft printed."""
        self.netns("peer")
        sh("ip", "link", "add", "mfy32640", "type", "veth", "peer", "name",
           "up0", "netns", self.ns("peer"))
        sh("ip", "addr", "add", UPLINK_HOST + "/31", "dev", "mfy32640")
        sh("ip", "link", "set", "mfy32640", "up")
        for line in (f"addr add {UPLINK}/31 dev up0", "link set up0 up",
                     "link set lo up", "tuntap add tap0 mode tap vnet_hdr",
                     f"addr add {GATEWAY}/30 dev tap0", "link set tap0 up",
                     f"neigh add 198.18.0.2 lladdr {GUEST_MAC} dev tap0",
                     f"route add default via {UPLINK_HOST}"):
            self.within("peer", "ip", *line.split())
        self.within("peer", "sh", "-c",
                    "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.within("peer", "nft", "-f", "-", input=tables)

    @contextlib.contextmanager
    def servers(self):
        """One iperf3 for each direction; their reports when they are done."""
        running = []
        for port in (5201, 5202):
            running.append(subprocess.Popen(
                [*self.enter("world"), "iperf3", "-s", "-1", "-J", "-p",
                 str(port)], stdout=subprocess.PIPE, text=True))
        self.wait_for_ports()
        try:
            yield running
        finally:
            for server in running:
                server.kill()
                server.wait()

    def wait_for_ports(self):
        for _ in range(100):
            text = self.within("world", "cat", "/proc/net/tcp6",
                               "/proc/net/tcp")
            if ":1451 " in text and ":1452 " in text:
                return
            time.sleep(0.02)
        raise Skip("iperf3 -s does not listen")


def gbits(server, which):
    """What the server measured, by the host's clock."""
    try:
        text, _ = server.communicate(timeout=10)
        return json.loads(text)["end"][which]["bits_per_second"] / 1e9
    except (subprocess.TimeoutExpired, ValueError, KeyError) as why:
        raise Skip(f"iperf3 -s: {why!r}") from None


@contextlib.contextmanager
def world():
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        made = World(work)
        try:
            yield made
        finally:
            for name in ("world", "peer"):
                subprocess.run(["umount", made.ns(name)], check=False,
                               stderr=subprocess.DEVNULL)
