# SPDX-License-Identifier: Apache-2.0
"""What the jail costs, alone and ten at a time, beside bubblewrap.

Each side is one command from exec to exit. Ours does more: it changes users,
limits, capabilities, Landlock and seccomp; and its root is empty."""
import shutil
import statistics
import subprocess

from measure import Goal, Skip

AT_ONCE = 10
NOTE = ("jail: namespaces, empty root, user, limits, capabilities, Landlock "
        "and seccomp; without a cgroup")


def need_bwrap():
    if not shutil.which("bwrap"):
        raise Skip("bwrap is not installed (package bubblewrap)")


def shell(argv, times):
    """A command that starts argv so often at a time, and says when all are
    done."""
    one = " ".join(argv)
    loop = f"{one} & " * times + "wait" if times > 1 else one
    return ["sh", "-c", loop + "; echo done"]


def alone(section):
    """From the start of the jail to the program's end, ours alone."""
    argv = [section.bench.tool("jail"), "-m", section.bench.tool("jailed")]
    ms = []
    for _ in range(max(30, section.pairs)):
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                              check=True)
        ms.append(float(done.stdout.split()[0]))
    section.add("start of a jail to its program's end", "ms",
                statistics.median(ms), goal=Goal("mayfly", "<=", 3),
                note=NOTE, samples={"mayfly": ms})


def cgroup(section):
    """Apart: on cgroup v1 the launcher does this beside the VM's start."""
    argv = [section.bench.tool("jail"), "-c"]
    rows = []
    for _ in range(max(30, section.pairs)):
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode == 3:
            raise Skip("this host lets us have no cgroup")
        rows.append([float(word) for word in done.stdout.split()])
    for name, ms in zip(("make", "attach to", "remove"), zip(*rows)):
        section.add(f"{name} a cgroup", "ms", statistics.median(ms),
                    samples={"mayfly": ms})


def run(section):
    alone(section)
    cgroup(section)
    need_bwrap()
    ours = [section.bench.tool("jail"), section.bench.tool("jailed")]
    peer = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    pairs = max(30, section.pairs)
    for times, goal in (1, None), (AT_ONCE, Goal("ratio", "<=", 1.2)):
        runs = section.race(shell(ours, times), shell(peer, times),
                            word="done", pairs=pairs)
        section.compare(f"{times} at a time, bubblewrap", runs,
                        ("exit", "cpu"), goal=goal)
