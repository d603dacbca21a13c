# SPDX-License-Identifier: Apache-2.0
"""The root image of the section `net`: iperf3 and ping of this host's packages,
with the libraries that they load. In the cache, by a hash of what it is made
of."""
import hashlib
import os
import shutil
import subprocess
import tempfile

from disk_image import libraries
from measure import Skip

PACKAGES = {"iperf3": "iperf3", "ping": "iputils-ping", "sh": "dash",
            "busybox": "busybox-static", "date": "coreutils"}
HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, "net.sh")


def needed():
    files = set()
    for program, package in PACKAGES.items():
        path = shutil.which(program)
        if not path:
            raise Skip(f"{program} not found; install package {package}")
        files.add((f"/bin/{program}", path))
        files.update((lib, lib) for lib in libraries(path))
    return sorted(files)


def make(files, tree, image):
    for to, path in files:
        to = os.path.join(tree, to.lstrip("/"))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(path, to)
    for name in ("dev", "etc", "proc", "root", "sys", "tmp"):
        os.makedirs(os.path.join(tree, name), exist_ok=True)
    shutil.copy(SCRIPT, os.path.join(tree, "net.sh"))
    subprocess.run(["mkfs.erofs", "--quiet", "--all-root", "-T0", image, tree],
                   check=True)


def key(files):
    h = hashlib.sha256()
    for path in (SCRIPT, os.path.abspath(__file__)):
        with open(path, "rb") as f:
            h.update(f.read())
    for to, path in files:
        st = os.stat(path)
        h.update(f"{to} {path} {st.st_size} {st.st_mtime_ns}\n".encode())
    return h.hexdigest()[:16]


def image():
    cache = os.environ.get("MAYFLY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME")
        or os.path.expanduser("~/.cache"), "mayfly")
    files = needed()
    path = os.path.join(cache, "bench", f"net-{key(files)}.img")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(
                prefix="new-", dir=os.path.dirname(path)) as work:
            tree = os.path.join(work, "root")
            os.mkdir(tree)
            os.chmod(tree, 0o755)
            make(files, tree, os.path.join(work, "img"))
            os.rename(os.path.join(work, "img"), path)
    return path
