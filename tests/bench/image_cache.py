# SPDX-License-Identifier: Apache-2.0
"""Root images of the bench, made once and kept in the cache by what they are
made of."""
import hashlib
import os
import tempfile


def path_of(kind, key):
    cache = os.environ.get("MAYFLY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME")
        or os.path.expanduser("~/.cache"), "mayfly")
    return os.path.join(cache, "bench", f"{kind}-{key}.img")


def key_of(sources, files):
    """Of the bytes of @sources and of this file; of what [(words, path)] are by size and time."""
    h = hashlib.sha256()
    for path in [*sources, os.path.abspath(__file__)]:
        with open(path, "rb") as f:
            h.update(f.read())
    for words, path in files:
        st = os.stat(path)
        h.update(f"{words} {st.st_size} {st.st_mtime_ns}\n".encode())
    return h.hexdigest()[:16]


def kept(path, make):
    """@path, made by make(tree, image) unless it is there."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(
                prefix="new-", dir=os.path.dirname(path)) as work:
            tree = os.path.join(work, "root")
            os.mkdir(tree)
            os.chmod(tree, 0o755)
            make(tree, os.path.join(work, "img"))
            os.rename(os.path.join(work, "img"), path)
    return path
