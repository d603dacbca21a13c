# SPDX-License-Identifier: Apache-2.0
"""What a program in Python does all day, on data from a seeded generator."""
import base64
import bz2
import cmath
import collections
import decimal
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import lzma
import math
import pickle
import random
import re
import statistics
import string
import struct
import subprocess
import sys
import threading
import zlib

rng = random.Random(20260101)


def digest(*parts):
    h = hashlib.sha256()
    for p in parts:
        h.update(p if isinstance(p, bytes) else repr(p).encode())
    return h.hexdigest()[:32]


words = [''.join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))
         for _ in range(200)]


def data(n):
    return ' '.join(rng.choices(words, k=n)).encode()


def show(name, *what):
    print(name, *what, flush=True)


def compressors():
    text = data(20000)
    for level in (1, 6, 9):
        z = zlib.compress(text, level)
        assert zlib.decompress(z) == text
        show('zlib', level, len(z), digest(z), zlib.crc32(z), zlib.adler32(z))
    for module in (bz2, lzma):
        z = module.compress(text)
        assert module.decompress(z) == text
        show(module.__name__, len(z), digest(z))


def hashes():
    text = data(5000)
    for name in sorted(hashlib.algorithms_guaranteed):
        h = hashlib.new(name, text)
        size = (32,) if name.startswith('shake') else ()
        show(name, h.hexdigest(*size))
    show('pbkdf2', hashlib.pbkdf2_hmac('sha512', b'k', b'salt', 500).hex())
    show('scrypt', hashlib.scrypt(b'k', salt=b's', n=64, r=4, p=1).hex())
    show('base', digest(base64.b85encode(text), base64.b64encode(text)))


def objects():
    tree = {f'k{i}': [i * 1.1, {'s': data(3).decode(), 'n': None,
                                't': [True, -i, i ** 20]}]
            for i in range(3000)}
    text = json.dumps(tree, sort_keys=True)
    assert json.loads(text) == tree
    show('json', len(text), digest(text.encode()))
    show('json', digest(json.dumps(tree, indent=1).encode()))
    p = pickle.dumps(tree)
    assert pickle.loads(p) == tree
    show('pickle', len(p), digest(p))
    packed = b''.join(struct.pack('<bHiQfd', i % 128, i, -i, i ** 4, i / 7, i / 3)
                      for i in range(5000))
    show('struct', digest(packed, struct.unpack_from('>qd', packed, 3)))


def numbers():
    sys.set_int_max_str_digits(0)
    decimal.getcontext().prec = 300
    d = decimal.Decimal(2).sqrt()
    show('decimal', d, d.exp(), d.ln())
    x = fractions.Fraction(1)
    for i in range(1, 200):
        x = x / 3 + fractions.Fraction(i, i + 1)
    show('fraction', digest(x))
    show('long', digest(math.factorial(3000), pow(7, 10 ** 5, 10 ** 60 + 7),
                        3 ** 9999 // 7 ** 500, math.isqrt(10 ** 801)))
    for f in (math.sin, math.exp, math.gamma, math.log1p, math.erf, math.cbrt):
        show(f.__name__, digest([f(rng.uniform(0.01, 20)) for _ in range(2000)]))
    show('complex', digest([cmath.sqrt(complex(rng.gauss(0, 9), rng.random()))
                            ** 1.7 for _ in range(2000)]))
    sample = [rng.lognormvariate(0, 1) for _ in range(1000)]
    show('statistics', statistics.fmean(sample), statistics.stdev(sample),
         math.fsum(sample), math.dist(sample[:500], sample[500:]))
    show('repr', digest([rng.random() * 10 ** rng.randint(-300, 300)
                         for _ in range(5000)]))


def algorithms():
    v = [rng.getrandbits(40) for _ in range(20000)]
    heap = v[:5000]
    heapq.heapify(heap)
    show('sort', digest(sorted(v), sorted(v, key=lambda x: x % 1009),
                        [heapq.heappop(heap) for _ in range(2000)]))
    sieve = bytearray([1]) * 50000
    for i in range(2, 224):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, 50000, i)))
    show('sieve', sum(sieve) - 2)
    show('counter', collections.Counter(data(5000).decode()).most_common(3))
    show('permutations', digest(list(itertools.permutations(range(7)))[::97]))

    @functools.lru_cache(None)
    def ways(n, k):
        return 1 if n == 0 else 0 if n < 0 or k == 0 else (
            ways(n, k - 1) + ways(n - k, k))
    show('partitions', ways(150, 150))
    show('nbody', nbody(1500))


def nbody(steps):
    bodies = [[0, 0, 0, 0, 0, 0, 39.47],
              [4.84, -1.16, -0.1, 0.606, 2.811, -0.02, 0.037],
              [8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011]]
    for _ in range(steps):
        for a, b in itertools.combinations(bodies, 2):
            d = [a[k] - b[k] for k in range(3)]
            m = 0.01 / sum(x * x for x in d) ** 1.5
            for k in range(3):
                a[3 + k] -= d[k] * b[6] * m
                b[3 + k] += d[k] * a[6] * m
        for b in bodies:
            for k in range(3):
                b[k] += 0.01 * b[3 + k]
    return [x.hex() for x in bodies[1][:3]]


def texts():
    text = data(8000).decode()
    show('re', len(re.findall(r'\b(\w)\w*\1\b', text)),
         digest(re.sub(r'(\w+) (\w+)', r'\2 \1', text)),
         digest(re.split(r'[aeiou]{2,}', text)))
    show('text', digest(text.title(), text.encode('utf-16'),
                        text.translate(str.maketrans('abc', 'xyz'))))
    show('format', f'{math.pi:>30.20e}|{12345678:,}|{0.1:.50f}|{255:#b}')


def processes():
    out = []
    lock = threading.Lock()

    def work(i):
        with lock:
            out.append(sum(range(i * 1000)))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    show('threads', sorted(out)[-1], len(out))
    p = subprocess.run(['sh', '-c', 'tr a-z A-Z; exit 3'], input=b'hello',
                       stdout=subprocess.PIPE, check=False)
    show('subprocess', p.stdout, p.returncode)


for part in (compressors, hashes, objects, numbers, algorithms, texts,
             processes):
    part()
