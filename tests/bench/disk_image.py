# SPDX-License-Identifier: Apache-2.0
"""The root image of the section `disk`: fio and tar of this host's packages,
with the libraries that they load, and an archive of many small files. In the
cache, by a hash of what it is made of."""
import io
import os
import random
import re
import shutil
import subprocess
import tarfile

import image_cache
from measure import Skip

FILES = 20000
SEED = 5
PROGRAMS = ["fio", "tar", "sh", "date", "mkdir", "sync", "echo", "cat"]
HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, "disk.sh")


def programs():
    found = {p: shutil.which(p) for p in PROGRAMS}
    missing = [p for p, path in found.items() if not path]
    if missing:
        raise Skip(f"{', '.join(missing)} not found; install package "
                   + " ".join(missing))
    return list(found.values())


def libraries(program):
    """The shared objects of a program, its loader among them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True,
                          check=False).stdout
    return re.findall(r"(/\S+) \(0x", text)


def needed():
    files = set()
    for program in programs():
        files.add(program)
        files.update(libraries(program))
    return sorted(files)


def write_archive(path):
    """Small files as in a source tree: most of one or two blocks."""
    rng = random.Random(SEED)
    data = rng.randbytes(64 << 10)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for i in range(FILES):
            size = min(int(rng.expovariate(1 / 3000)), len(data))
            at = rng.randrange(len(data) - size + 1)
            entry = tarfile.TarInfo(f"d{i // 1000:02}/e{i // 20:03}/f{i:05}")
            entry.size = size
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(data[at:at + size]))


def make(tree, image):
    for path in needed():
        to = os.path.join(tree, path.lstrip("/"))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(path, to)
    for name in ("dev", "etc", "proc", "root", "sys", "tmp"):
        os.makedirs(os.path.join(tree, name), exist_ok=True)
    if not os.path.exists(os.path.join(tree, "bin/sh")):
        os.makedirs(os.path.join(tree, "bin"), exist_ok=True)
        shutil.copy(shutil.which("sh"), os.path.join(tree, "bin/sh"))
    shutil.copy(SCRIPT, os.path.join(tree, "disk.sh"))
    write_archive(os.path.join(tree, "files.tar"))
    subprocess.run(["mkfs.erofs", "--quiet", "--all-root", "-T0", image, tree],
                   check=True)


def image():
    key = image_cache.key_of([SCRIPT, os.path.abspath(__file__)],
                             [(path, path) for path in needed()])
    return image_cache.kept(image_cache.path_of("disk", key), make)
