# SPDX-License-Identifier: Apache-2.0
"""Cold boot on the kvm engine against QEMU microvm -accel kvm, inside the
machine with emulated SVM of tests/kvmhost: same kernel, same image."""
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile

import boot
import payload
import qemu
import timeline
from measure import Goal, Skip, parse_race

LIMIT = 1500
HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(HERE, "..", "kvmhost", "run.sh")
FIRMWARE = ["/usr/share/seabios/bios-microvm.bin", "/usr/share/qemu/qboot.rom",
            "/usr/share/seabios/kvmvapic.bin", "/usr/share/qemu/kvmvapic.bin"]
MARK = "bench-part:"


def libraries(program):
    """The shared objects of a program, its loader among them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True,
                          check=True).stdout
    return re.findall(r"(/\S+) \(0x", text)


def stage_qemu(to):
    """QEMU with all it needs, below one directory; how it is started there."""
    program = shutil.which(qemu.PROGRAM)
    for name in ("lib", "share"):
        os.makedirs(os.path.join(to, name))
    shutil.copy(program, to)
    for lib in libraries(program):
        shutil.copy(lib, os.path.join(to, "lib"))
        if "/ld-linux" in lib:
            loader = os.path.basename(lib)
    for path in FIRMWARE:
        if os.path.exists(path):
            shutil.copy(path, os.path.join(to, "share"))
    return ["qemu/lib/" + loader, "--library-path", "qemu/lib",
            "qemu/" + qemu.PROGRAM, "-L", "qemu/share"]


def script(pairs, start):
    """What runs in /work of that machine."""
    def race(ours, peer, *options):
        return shlex.join(["./race", "-n", str(pairs), "-l", "60", *options,
                           *ours, ":::", *start, *peer[1:]])

    linux = qemu.linux("bin/guest/vmlinux", "init.cpio", "bin/guest/base.img",
                       "scratch.img", "echo " + boot.WORD,
                       machine=qemu.KVM_MACHINE, accel="kvm", cpu="host")
    out = qemu.bare("out", "kvm")
    stage = ["./race", "-n", "1", "bin/mayfly", "run", "--engine", "kvm",
             "--meta", "meta", "--", "echo", boot.WORD]
    return "\n".join([
        "set -e",
        f"echo {MARK} boot",
        race(["bin/mayfly", "run", "--engine", "kvm", "--", "echo",
              boot.WORD], linux, "-w", boot.WORD, "-b",
             # busybox's cp fills holes
             "/bin/tar -C bin/guest -cSf - scratch.img | /bin/tar -xSf -"),
        f"echo {MARK} out",
        race(["./launch", "kvm", "bin/mayfly-vmm", "out"], out),
        f"for i in $(seq {pairs}); do echo {MARK} timeline$i",
        shlex.join(stage),
        "cat meta; done",
        f"echo {MARK} end",
    ])


def timelines(parts):
    """(Run, report) of each timeline part: race's line, then the JSON."""
    for name, lines in parts.items():
        if name.startswith("timeline"):
            yield (parse_race(lines)["a"][0],
                   json.loads("\n".join(x for x in lines
                                        if not x.startswith("a "))))


def run_there(build, extra, command):
    env = dict(os.environ, KVMHOST_EXTRA=extra, KVMHOST_LIMIT=str(LIMIT))
    done = subprocess.run([RUNNER, build, command], env=env, text=True,
                          stdout=subprocess.PIPE, check=False)
    parts, lines = {}, []
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            lines = parts.setdefault(line.split()[1], [])
        else:
            lines.append(line)
    if done.returncode or "end" not in parts:
        raise Skip("the machine with emulated SVM did not finish: "
                   + " | ".join(done.stdout.splitlines()[-5:]))
    return parts


def run(section):
    bench = section.bench
    qemu.need()
    with tempfile.TemporaryDirectory(prefix="mayfly-bench.") as extra:
        start = stage_qemu(os.path.join(extra, "qemu"))
        for tool in ("race", "launch", "out", "init.cpio"):
            shutil.copy(bench.tool(tool), extra)
        parts = run_there(bench.build, extra, script(section.pairs, start))
    fields = ("first", "exit", "cpu")
    section.compare("kvm, QEMU microvm", parse_race(parts["boot"]), fields,
                    goal=Goal("ratio", "<=", 0.8), note=boot.NOTE)
    section.compare("kvm, one out, QEMU microvm", parse_race(parts["out"]),
                    fields, note=payload.NOTE)
    timeline.add_stages(section, "kvm, ", list(timelines(parts)))
