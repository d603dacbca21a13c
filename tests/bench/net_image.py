# SPDX-License-Identifier: Apache-2.0
"""The root image of the section `net`: iperf3 and ping of this host's packages,
with the libraries that they load. In the cache, by a hash of what it is made
of."""
import os
import shutil
import subprocess

import image_cache
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


def image():
    files = needed()
    key = image_cache.key_of([SCRIPT, os.path.abspath(__file__)],
                             [(f"{to} {path}", path) for to, path in files])
    return image_cache.kept(image_cache.path_of("net", key),
                            lambda tree, out: make(files, tree, out))
