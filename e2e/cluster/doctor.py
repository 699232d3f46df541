# SPDX-License-Identifier: Apache-2.0
"""`python -m e2e.cluster doctor`: each kernel feature that the system needs, tried by doing it.

Nothing is concluded from version numbers or configuration. Every trial runs in a network and mount
namespace of its own that ends with it, so the machine stays as it was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import spec

# The smallest programs the verifier takes: `return N` in a section per program type.
SOURCE = """
#define SEC(name) __attribute__((section(name), used))
SEC("{section}") int trial(void *context) {{ return {code}; }}
char _license[] SEC("license") = "GPL";
"""


@dataclass(frozen=True)
class Trial:
    """`script` is a shell script that exits 0 when the feature works. $OBJECT names the compiled
    program when `section` is given; /sys/fs/bpf is a fresh bpffs."""

    feature: str
    needed_for: str
    script: str
    section: str = ""
    code: int = 0
    required: bool = True


def _cgroup(attach: str) -> str:
    return f"""
mkdir $TRIALS/cg && mount -t cgroup2 none $TRIALS/cg && mkdir $TRIALS/cg/cpy-doctor-$$
trap 'rmdir $TRIALS/cg/cpy-doctor-$$' EXIT
bpftool prog load $OBJECT /sys/fs/bpf/p type cgroup/{attach}
bpftool cgroup attach $TRIALS/cg/cpy-doctor-$$ {attach} pinned /sys/fs/bpf/p
bpftool cgroup detach $TRIALS/cg/cpy-doctor-$$ {attach} pinned /sys/fs/bpf/p
"""


_VETH = "ip link add name here type veth peer name there"
_MAP = "bpftool map create /sys/fs/bpf/m name cpy_doctor type"
TRIALS = (
    Trial(
        "BTF of the kernel", "types", "bpftool btf dump file /sys/kernel/btf/vmlinux | grep -q ."
    ),
    Trial("bpffs", "pinned maps", "touch /dev/null && stat -f -c %T /sys/fs/bpf | grep -qi bpf"),
    Trial("network namespace", "pods", "ip link set lo up"),
    Trial(
        "veth pair",
        "pods",
        _VETH + " && ip link set here up",
    ),
    Trial("bridge", "underlay", "ip link add name trial type bridge && ip link set trial up"),
    Trial("vxlan device", "tunnel", "ip link add v type vxlan external dstport 8472"),
    Trial("IPv6", "dual stack", "ip link set lo up && ip -6 addr add fd00::1/64 dev lo nodad"),
    Trial("hash map", "datapath", f"{_MAP} hash key 4 value 4 entries 8"),
    Trial("LRU hash map", "conntrack", f"{_MAP} lru_hash key 4 value 4 entries 8"),
    Trial(
        "LPM trie",
        "ipcache",
        f"{_MAP} lpm_trie key 8 value 4 entries 8 flags 1",
    ),
    Trial("program array", "tail calls", f"{_MAP} prog_array key 4 value 4 entries 8"),
    Trial("per-CPU array", "metrics", f"{_MAP} percpu_array key 4 value 8 entries 8"),
    Trial("ring buffer", "events", f"{_MAP} ringbuf key 0 value 0 entries 4096"),
    Trial(
        "tc program on clsact",
        "datapath",
        _VETH + " && tc qdisc add dev here clsact"
        " && tc filter add dev here ingress bpf direct-action object-file $OBJECT section tc"
        " && tc filter show dev here ingress | grep -q direct-action",
        section="tc",
    ),
    Trial(
        "tcx attach (kernel 6.6 and later)",
        "datapath; clsact is used without it",
        _VETH + " && bpftool prog load $OBJECT /sys/fs/bpf/p type tc"
        " && $PYTHON -m e2e.cluster.tcx /sys/fs/bpf/p here",
        section="tc",
        required=False,
    ),
    Trial(
        "XDP program",
        "load balancer at the device",
        _VETH + " && ip link set here xdpgeneric obj $OBJECT sec xdp",
        section="xdp",
        code=2,
        required=False,
    ),
    Trial("connect4 on cgroup2", "Services", _cgroup("connect4"), "cgroup/connect4", 1),
    Trial("connect6 on cgroup2", "Services", _cgroup("connect6"), "cgroup/connect6", 1),
    Trial("sendmsg4 on cgroup2", "UDP Services", _cgroup("sendmsg4"), "cgroup/sendmsg4", 1),
    Trial("recvmsg4 on cgroup2", "UDP Services", _cgroup("recvmsg4"), "cgroup/recvmsg4", 1),
    Trial(
        "sk_lookup program",
        "L7 proxy",
        "bpftool prog load $OBJECT /sys/fs/bpf/p type sk_lookup",
        section="sk_lookup",
        code=1,
    ),
    Trial(
        "nft masquerade",
        "traffic to the outside",
        "nft add table inet t"
        " && nft 'add chain inet t c { type nat hook postrouting priority 100; }'"
        " && nft add rule inet t c ip saddr 10.0.0.0/8 masquerade",
    ),
    Trial(
        "overlayfs",
        "containers",
        "mkdir $TRIALS/{l,u,w,m}"
        " && cd $TRIALS && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m",
    ),
)
WRAPPER = "set -e; mount -t bpf bpf /sys/fs/bpf; mount -t tmpfs tmpfs $TRIALS; "
TOOLS = ("bpftool", "clang", "ip", "nft", "tc", "unshare")


def compile_program(section: str, code: int, folder: Path) -> Path:
    """Compile the smallest program for `section`; CalledProcessError with clang's words."""
    source = folder / "trial.c"
    target = folder / f"{section.replace('/', '-')}.o"
    source.write_text(SOURCE.format(section=section, code=code))
    subprocess.run(
        ["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o", target],
        check=True,
        capture_output=True,
        text=True,
    )
    return target


def attempt(trial: Trial, folder: Path) -> str:
    """Try one feature; the empty string when it works, else the last thing that was said."""
    trials = folder / "trials"
    trials.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(spec.REPOSITORY),
        "TRIALS": str(trials),
    }
    try:
        if trial.section:
            environment["OBJECT"] = str(compile_program(trial.section, trial.code, folder))
        done = subprocess.run(
            [
                *("unshare", "--net", "--mount", "--propagation", "private"),
                *("bash", "-c", WRAPPER + trial.script),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except subprocess.CalledProcessError as failed:
        return f"clang: {failed.stderr.strip()[-150:]}".replace("\n", "; ")
    except subprocess.TimeoutExpired:
        return "no result within 30 s"
    if done.returncode == 0:
        return ""
    words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split(
        "\n"
    )
    return words[-1][:150]


def main() -> int:
    """Try everything, print a table; 1 when something required is missing."""
    if os.geteuid() != 0:
        print("doctor: loading eBPF programs needs root; run it as root", file=sys.stderr)
        return 1
    tools = [name for name in TOOLS if shutil.which(name) is None]
    if tools:
        print(f"doctor: missing programs: {', '.join(tools)}; run `make install`", file=sys.stderr)
        return 1
    missing = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        for trial in TRIALS:
            problem = attempt(trial, Path(name))
            verdict = "ok" if not problem else "MISSING" if trial.required else "absent"
            print(f"{verdict:<8} {trial.feature:<34} {trial.needed_for:<36} {problem}".rstrip())
            if problem and trial.required:
                missing.append(trial.feature)
    if missing:
        print(f"this kernel lacks: {', '.join(missing)}", file=sys.stderr)
        return 1
    return 0
