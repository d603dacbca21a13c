# SPDX-License-Identifier: Apache-2.0
"""What a root image is best kept as: the same Debian image as our erofs with the
data of its layer, as squashfs and as ext4. How large it is, how long it takes to
make from a tar in the page cache, and how long a guest takes to read it."""
import os
import shutil
import statistics
import subprocess
import time

from measure import Skip

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 4096

# What a guest does with it; the CPU time of a run without work is taken off.
WORK = {
    "nothing": "true",
    "find all": "find / -xdev -type f -size +1000G",
    "cat all files": "find / -xdev -type f -exec cat {} + >/dev/null",
    "import of 30 modules": "python3 -c 'import asyncio, ctypes, decimal, "
    "email.message, http.server, json, logging.config, sqlite3, unittest, "
    "xml.dom.minidom, multiprocessing.pool, urllib.request'",
}


def sh(script, *args):
    done = subprocess.run(["sh", "-euc", script, "sh", *args], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise Skip(f"{script.split()[0]}: {done.stderr.strip()[-200:]}")


class Format:
    """A kind of image: how one is made in a directory, its disk in DIR/disk."""

    def __init__(self, name, script, *args, needs=()):
        self.name = name
        self.script = script
        self.args = args
        self.needs = needs

    def build(self, tar, where):
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        begin = time.monotonic()
        sh(self.script, tar, where, *self.args)
        return time.monotonic() - begin


def erofs(unpack):
    """As an import does it; the disk is made of both files afterwards."""
    return Format("erofs", '''
        cd "$2"
        "$3" layer 17179869184 4194304 <"$1" 3<>data 4<>index >layer
        "$3" root 1 </dev/null 3<>root.erofs 4<index >root''', unpack)


def squashfs(how, *more):
    """tar2sqfs compresses always. Of zstd it takes level 15 unless told."""
    return Format("squashfs, " + how, """
        tar=$1 disk=$2/disk
        shift 2
        tar2sqfs -q "$disk" -c "$@" <"$tar" >/dev/null 2>&1""", how, *more,
                  needs=("tar2sqfs",))


def ext4():
    """mke2fs takes a directory, and has to be told how large it gets."""
    return Format("ext4, mke2fs -d", '''
        mkdir "$2/tree"
        tar -C "$2/tree" --xattrs --xattrs-include='*' -xpf "$1"
        files=$(find "$2/tree" | wc -l)
        kib=$(du -sk --apparent-size "$2/tree" | cut -f 1)
        mke2fs -q -t ext4 -O ^has_journal -m 0 -N $((files + 100)) \\
            -d "$2/tree" "$2/disk" $((kib + files * 4 + kib / 20))k
        rm -r "$2/tree"''', needs=("mke2fs",))


def ext2():
    return Format("ext2, genext2fs", '''
        files=$(tar -tf "$1" | wc -l)
        kib=$(($(stat -c %s "$1") / 1024))
        genext2fs -a "$1" -B 4096 -N $((files + 2000)) -m 0 \\
            -b $(((kib + files * 2 + kib / 20) / 4)) "$2/disk" >/dev/null''',
                  needs=("genext2fs",))


def formats(bench):
    wanted = [erofs(bench.path("mayfly-unpack")), squashfs("lz4"),
              squashfs("zstd", "-X", "level=3"), ext4(), ext2()]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    return [f for f in wanted if all(map(shutil.which, f.needs))]


def debian():
    script = os.path.join(HERE, "..", "system", "debian-image.sh")
    done = subprocess.run([script, "python"], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        raise Skip("no Debian image")
    tar = done.stdout.strip()
    with open(tar, "rb") as f:  # into the page cache
        while f.read(1 << 20):
            pass
    return tar


def stored(where):
    """Bytes of disk of what stays."""
    names = [n for n in os.listdir(where) if n not in ("layer", "root")]
    return sum(os.stat(os.path.join(where, n)).st_blocks * 512 for n in names)


def join(where):
    """The disk of an erofs guest in one file."""
    if os.path.exists(where + "/root.erofs"):
        sh('cat "$1/root.erofs" "$1/data" >"$1/disk"', where)


def guest_cpu(bench, disk, command):
    """Milliseconds of CPU that a run takes, the VMM's and the launcher's."""
    argv = [bench.path("mayfly"), "run", "--engine", "soft", "--rootfs", disk,
            "--", "sh", "-c", command]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as p:
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise Skip(f"{disk}: {command}: exit code {p.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def run(section):
    bench = section.bench
    kinds = formats(bench)
    tar = debian()
    top = bench.path("bench", "formats")
    where = {f.name: os.path.join(top, str(i)) for i, f in enumerate(kinds)}
    build = {f.name: [] for f in kinds}
    read = {(f.name, w): [] for f in kinds for w in WORK}
    try:
        for _ in range(section.pairs):
            for f in kinds:
                build[f.name].append(f.build(tar, where[f.name]) * 1000)
        size = {f.name: stored(where[f.name]) / 1e6 for f in kinds}
        for f in kinds:
            join(where[f.name])
        for _ in range(section.pairs):
            for f in kinds:
                for w, command in WORK.items():
                    read[f.name, w].append(guest_cpu(
                        bench, where[f.name] + "/disk", command))
    finally:
        shutil.rmtree(top, ignore_errors=True)
    report(section, kinds, size, build, read)


def report(section, kinds, size, build, read):
    ours = kinds[0].name

    def work(name, what):
        idle = statistics.median(read[name, "nothing"])
        return statistics.median(read[name, what]) - idle

    for f in kinds[1:]:
        section.add(f"image, {f.name}", "MB", size[ours], size[f.name])
        section.add(f"made from a tar, {f.name}", "ms",
                    statistics.median(build[ours]),
                    statistics.median(build[f.name]),
                    samples={"mayfly": build[ours], "peer": build[f.name]})
        for what in list(WORK)[1:]:
            section.add(f"{what}, {f.name}", "ms CPU", work(ours, what),
                        work(f.name, what),
                        samples={"mayfly": read[ours, what],
                                 "peer": read[f.name, what]})
