# SPDX-License-Identifier: Apache-2.0
"""What the cluster could leave on the machine, recorded so that before and after can be compared.

`python -m e2e.cluster snapshot FILE` records; `… snapshot --compare FILE` prints what differs and
exits 1 if anything does. Everything is read-only. Entries are strings without ids that change by
themselves (pids, counters, handles), so that two records of a quiet machine are equal.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

from e2e.cluster.errors import CommandFailed, HostNotReady
from e2e.cluster.shell import run

Snapshot = dict[str, list[str]]
HOST_FOLDERS = (
    *("/etc/cni", "/opt/cni", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd"),
    *("/var/log/pods", "/var/log/containers", "/run/cilium", "/run/containerd", "/etc/kubernetes"),
)
# Programs that belong to the cluster or run inside it.
PROGRAMS = re.compile(
    r"^(etcd|kube-\S*|kubelet|kubectl|hyperkube\S*|containerd\S*|runc|coredns|pause|unshare"
    r"|cilium\S*|emojivoto\S*|node-init\S*|control-plane-i\S*)$"
)


def take() -> Snapshot:
    """Record this machine, as seen from the caller's (the root) namespaces."""
    return {
        "network namespaces": _network_namespaces(),
        "links": _links(),
        "mounts": mounts(Path("/proc/self/mountinfo").read_text()),
        "cgroups": _cgroups(),
        "BPF programs": _bpf("prog"),
        "BPF maps": _bpf("map"),
        "BPF links": _bpf("link"),
        "nft rules": _lines(["nft", "-s", "list", "ruleset"]),
        "ip rules": _lines(["ip", "rule"]) + _lines(["ip", "-6", "rule"]),
        "routes": _routes(),
        "CNI and runtime folders": _folders(),
        "processes": _processes(),
    }


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """One line per entry that came or went; empty when nothing did. Counts matter. Pure."""
    found = []
    for kind in sorted({*before, *after}):
        old, new = Counter(before.get(kind, [])), Counter(after.get(kind, []))
        found += [f"{kind}: left behind: {entry}" for entry in sorted((new - old).elements())]
        found += [f"{kind}: gone: {entry}" for entry in sorted((old - new).elements())]
    return found


def mounts(mountinfo: str) -> list[str]:
    """ "target type source" per line of /proc/self/mountinfo. Pure."""
    entries = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, source, *_ = right.split()
        entries.append(f"{left.split()[4]} {kind} {source}")
    return sorted(entries)


def save(snapshot: Snapshot, file: Path) -> None:
    """Write a record as JSON."""
    file.write_text(json.dumps(snapshot, indent=1))


def load(file: Path) -> Snapshot:
    """Read a record that `save` wrote."""
    snapshot: Snapshot = json.loads(file.read_text())
    return snapshot


def _lines(argv: list[str]) -> list[str]:
    return [line.strip() for line in run(argv).splitlines() if line.strip()]


def _network_namespaces() -> list[str]:
    folder = Path("/run/netns")
    names = [f"named {entry.name}" for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(names)


def _links() -> list[str]:
    links = json.loads(run(["ip", "-j", "link"]) or "[]")
    return sorted(f"{link['ifname']} {link.get('link_type')}" for link in links)


def _cgroups() -> list[str]:
    # Only what hangs directly or indirectly under the cluster's parent folder or a pod folder:
    # other services of the machine make and remove groups of their own.
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind not in ("cgroup", "cgroup2"):
            continue
        for folder, children, _ in os.walk(target):
            found += [
                f"{folder}/{child}" for child in children if re.match(r"(cpy|kubepods|k8s)", child)
            ]
    return sorted(found)


def _bpf(kind: str) -> list[str]:
    try:
        shown = json.loads(run(["bpftool", "-j", kind, "show"]) or "[]")
    except CommandFailed as failed:
        raise HostNotReady(f"bpftool cannot list BPF {kind}s: {failed}") from failed
    return sorted(
        f"{entry.get('type')} {entry.get('name', '')} id {entry['id']}" for entry in shown
    )


def _routes() -> list[str]:
    shown = json.loads(run(["ip", "-j", "route", "show", "table", "all"]) or "[]")
    return sorted(f"{r.get('table', 'main')} {r['dst']} {r.get('dev', '')}" for r in shown)


def _folders() -> list[str]:
    found = []
    for name in HOST_FOLDERS:
        folder = Path(name)
        if folder.exists():
            found.append(name)
            found += [str(child) for child in folder.rglob("*")]
    return sorted(found)


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text().strip()
            words = (entry / "cmdline").read_bytes().split(b"\0")
            stranger = os.readlink(entry / "ns" / "net") != os.readlink("/proc/self/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # of a process above us, which no cluster of ours started
            continue
        if not words[0]:  # kernel threads, and zombies that their parent has yet to collect
            continue
        command = " ".join(word.decode(errors="replace") for word in words[:3])
        if PROGRAMS.match(name) or stranger or "e2e.cluster.forwarder" in command:
            found.append(f"{name}: {command.strip()}")
    return sorted(found)
