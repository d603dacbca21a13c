# SPDX-License-Identifier: Apache-2.0
"""What all sections share: results, goals, and the race of two commands."""
import dataclasses
import os
import statistics
import subprocess


class Skip(Exception):
    """This host cannot run the section; the words say why."""


@dataclasses.dataclass
class Goal:
    """A limit on a result's "ratio" or on its "mayfly" value."""
    of: str
    op: str
    limit: float

    def text(self):
        unit = "x " if self.of == "ratio" else ""
        return f"{unit}{self.op} {self.limit:g}"

    def met(self, value):
        return value <= self.limit if self.op == "<=" else value >= self.limit


@dataclasses.dataclass
class Result:
    section: str
    name: str
    unit: str = ""
    mayfly: float = None
    peer: float = None
    ratio: float = None     # mayfly / peer
    goal: Goal = None
    note: str = ""
    samples: dict = None
    skipped: str = ""

    def verdict(self):
        value = getattr(self, self.goal.of) if self.goal else None
        if value is None:
            return ""
        return "met" if self.goal.met(value) else "missed"

    def as_dict(self):
        d = {k: v for k, v in dataclasses.asdict(self).items()
             if v is not None and v != ""}
        if self.goal:
            d["goal"] = self.goal.text()
            d["met"] = self.verdict() == "met"
        return d


@dataclasses.dataclass
class Run:
    """One run as race prints it, in milliseconds."""
    first: float
    exit: float
    cpu: float


def parse_race(lines):
    """({"a": runs, "b": runs}) from race's lines; others are passed over."""
    runs = {"a": [], "b": []}
    for line in lines:
        words = line.split()
        if len(words) != 5 or words[0] not in runs:
            continue
        if words[4] == "-1":
            raise Skip("a run did not end as it should: " + line)
        runs[words[0]].append(Run(*map(float, words[1:4])))
    return runs


class Bench:
    """Where things are, and what was found."""

    def __init__(self, build, pairs):
        self.build = os.path.abspath(build)
        self.pairs = pairs
        self.results = []

    def path(self, *parts):
        return os.path.join(self.build, *parts)

    def guest(self, name):
        return self.path("guest", name)

    def tool(self, name):
        return self.path("bench", name)

    def tsc_early_khz(self):
        """The word that tells a guest on TCG its TSC's frequency."""
        khz = subprocess.run([self.tool("race"), "-T"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
        return f"tsc_early_khz={khz}"

    def section(self, name):
        return Section(self, name)

    def skip(self, section, why):
        self.results.append(Result(section, "", skipped=why))


class Section:
    """A Bench, and the section that its results belong to."""

    def __init__(self, bench, name):
        self.bench = bench
        self.name = name
        self.pairs = bench.pairs

    def add(self, name, unit, mayfly, peer=None, **more):
        if peer and "ratio" not in more:
            more["ratio"] = mayfly / peer
        result = Result(self.name, name, unit, mayfly, peer, **more)
        self.bench.results.append(result)
        return result

    def race(self, ours, peer=None, word=None, prepare=None, limit=60,
             pairs=None):
        argv = [self.bench.tool("race"), "-n", str(pairs or self.pairs),
                "-l", str(limit)]
        if word:
            argv += ["-w", word]
        if prepare:
            argv += ["-b", prepare]
        argv += ours + ([":::"] + peer if peer else [])
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                              check=False)
        runs = parse_race(done.stdout.splitlines())
        if done.returncode:
            raise Skip("a run failed; see above")
        return runs

    def compare(self, what, runs, fields, goal=None, note=""):
        """A row for each field of the runs; the goal is the first one's."""
        words = {"first": "to first output", "exit": "to exit",
                 "cpu": "CPU time"}
        for field in fields:
            a = [getattr(r, field) for r in runs["a"]]
            b = [getattr(r, field) for r in runs["b"]]
            self.add(f"{what}, {words[field]}", "ms", statistics.median(a),
                     statistics.median(b), goal=goal, note=note,
                     ratio=statistics.median(x / y for x, y in zip(a, b)),
                     samples={"mayfly": a, "peer": b})
            goal = None
