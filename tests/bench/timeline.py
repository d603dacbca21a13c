# SPDX-License-Identifier: Apache-2.0
"""Where a cold boot's time goes: the launcher's own report (--meta) between
exec and exit as seen from outside. Medians of each stage."""
import json
import os
import statistics
import tempfile

from measure import Skip


def stages(run, host, guest):
    """{stage: ms} of one run, in order."""
    before = run.first - host["first_output_ms"]
    stage = {"exec to launcher's first line": before}
    started = host.get("start_ms")
    if started is not None:
        stage["to STARTED (first guest instruction)"] = started
    stage["to READY (the agent is connected)"] = \
        host["boot_ms"] - (started or 0)
    stage["of that by the guest's own clock"] = guest["boot_ms"]
    stage["to first output"] = host["first_output_ms"] - host["boot_ms"]
    stage["to EXIT (the command's end)"] = \
        host["total_ms"] - host["first_output_ms"]
    stage["to the launcher's exit"] = run.exit - before - host["total_ms"]
    stage["whole"] = run.exit
    stage["vCPU thread's CPU time"] = host["vcpu_ms"]
    return stage


def add_stages(section, prefix, runs):
    """A row for the median of each stage; runs: (Run, report) pairs."""
    found = {}
    for once, doc in runs:
        if doc["verdict"] != "ok":
            raise Skip(f"a run ended as {doc['verdict']}")
        for name, ms in stages(once, doc["host"], doc["guest"]).items():
            found.setdefault(name, []).append(ms)
    for name, ms in found.items():
        section.add(prefix + name, "ms", statistics.median(ms),
                    samples={"mayfly": ms})
    counts = [doc["host"]["instructions"] for _, doc in runs]
    if all(counts):
        section.add(prefix + "guest instructions", "million",
                    statistics.median(counts) / 1e6)


def run(section):
    runs = []
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as work:
        meta = os.path.join(work, "meta.json")
        argv = [section.bench.path("mayfly"), "run", "--engine", "soft",
                "--meta", meta, "--", "echo", "first"]
        for _ in range(section.pairs):
            once = section.race(argv, pairs=1)["a"][0]
            with open(meta, encoding="utf-8") as f:
                runs.append((once, json.load(f)))
    add_stages(section, "soft, ", runs)
