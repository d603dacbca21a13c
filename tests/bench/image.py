# SPDX-License-Identifier: Apache-2.0
"""How long an image of Debian takes from a tar in the page cache to a name in
the store, and what a run of an image costs beside one of the built-in root."""
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from formats import debian
from measure import Goal, Skip

WORD = "first"


def mayfly(bench, store, *words):
    done = subprocess.run([bench.path("mayfly"), *words], text=True,
                          capture_output=True, check=False,
                          env=dict(os.environ, MAYFLY_DATA_DIR=store))
    if done.returncode:
        raise Skip(done.stderr.strip())


def imports(section, work):
    tar = debian()
    times = []
    for i in range(max(5, section.pairs // 3)):
        store = os.path.join(work, f"store{i}")
        os.sync()
        begin = time.monotonic()
        mayfly(section.bench, store, "image", "import", "tar:" + tar)
        times.append((time.monotonic() - begin) * 1000)
        shutil.rmtree(store)
    size = os.path.getsize(tar) / 1e6
    section.add(f"import of Debian, {size:.0f} MB", "ms",
                statistics.median(times), goal=Goal("mayfly", "<=", 1500),
                samples={"mayfly": times},
                note="image: an import is on the disk when it ends; image and "
                "built-in root hold the same files, the image in two parts")


def runs(section, work):
    """The same files as an image and as the built-in root."""
    bench = section.bench
    tree, store = os.path.join(work, "base"), os.path.join(work, "store")
    if not shutil.which("fsck.erofs"):
        raise Skip("no fsck.erofs")
    done = subprocess.run(["fsck.erofs", "--extract=" + tree,
                           bench.guest("base.img")], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise Skip("fsck.erofs: " + done.stderr.strip()[-200:])
    mayfly(bench, store, "image", "import", "dir:" + tree, "--name", "base")
    ours = [bench.path("mayfly"), "run", "--engine", "soft"]
    race = section.race(
        ["env", "MAYFLY_DATA_DIR=" + store, *ours, "base", "echo", WORD],
        ["env", "MAYFLY_DATA_DIR=" + store, *ours, "--", "echo", WORD],
        word=WORD, limit=30)
    section.compare("run of an image, of the built-in root", race,
                    ("first", "exit", "cpu"))
    added = [x.exit - y.exit for x, y in zip(race["a"], race["b"])]
    section.add("what an image adds to a run", "ms", statistics.median(added),
                goal=Goal("mayfly", "<=", 3), samples={"mayfly": added})


def run(section):
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.",
                                     dir=section.bench.path()) as work:
        imports(section, work)
        runs(section, work)
