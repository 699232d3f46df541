# SPDX-License-Identifier: Apache-2.0
"""One node with two pods behind the real programs, and a raw veth pair beside it, for the benches.

Everything is in namespaces and a bpffs of its own and gone when the block ends. Blocking; benches
run one thing at a time on purpose.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.endpoints import KernelEndpoints
from cilium_agent.datapath.programs import Programs, cleanup, ensure_programs
from cilium_agent.datapath.store import MapStore
from cilium_agent.model import DatapathSettings, Endpoint
from cilium_core.addresses import pack_address, pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey, TunnelInfo

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
ROUTER_V4 = "10.0.0.1"
POD_V4 = ("10.0.0.11", "10.0.0.12")
POD_V6 = ("fd00::11", "fd00::12")
RAW_V4 = ("192.0.2.1", "192.0.2.2")
ROUTED_V4 = ("198.18.0.1", "198.18.1.1")
REMOTE_V4 = "10.0.1.20"
MTU = 1450


class Namespace:
    """A network namespace held by a descriptor of this process."""

    def __init__(self) -> None:
        """Make it, with loopback up."""
        thread = threading.Thread(target=self._make)
        thread.start()
        thread.join()
        self.ip("link", "set", "lo", "up")

    def _make(self) -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare of the network namespace; root is needed")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    @property
    def enter(self) -> list[str]:
        """The words that start a command inside."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}"]

    def ip(self, *words: str) -> str:
        """Run `ip` inside; CalledProcessError when it fails."""
        command = [*self.enter, "ip", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def link(self, name: str) -> tuple[int, bytes]:
        """Return a device's number and MAC."""
        found = json.loads(self.ip("-j", "link", "show", "dev", name))[0]
        return int(found["ifindex"]), bytes.fromhex(found["address"].replace(":", ""))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread inside for the block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _libc.setns(self.fd, _CLONE_NEWNET)
        try:
            yield
        finally:
            _libc.setns(home, _CLONE_NEWNET)
            os.close(home)


@dataclass(frozen=True)
class Bench:
    """What a suite measures on."""

    node: Namespace
    pods: tuple[Namespace, Namespace]
    raw: tuple[Namespace, Namespace]
    routed: tuple[Namespace, Namespace]  # over a third one's stack, without conntrack
    programs: Programs
    store: MapStore
    endpoints: tuple[Endpoint, Endpoint]
    bpf_root: Path  # what the settings of the daemons call so


@contextmanager
def bench_node(host: bool = False) -> Iterator[Bench]:
    """Set everything up, hand it over, take it down; with `host` the node's own sockets reach pods.

    That takes cilium_host and its programs, as on a node.
    """
    with ExitStack() as undo:
        bpffs = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="cpy-bench-")))
        subprocess.run(["mount", "-t", "bpf", "bpf", str(bpffs)], check=True)
        undo.callback(subprocess.run, ["umount", str(bpffs)], check=True)
        node, *others = (Namespace() for _ in range(8))
        for namespace in (node, *others):
            undo.callback(os.close, namespace.fd)
        undo.callback(cleanup, bpffs / "cilium")
        yield _wire(node, others, bpffs / "cilium", host)


def _wire(node: Namespace, others: list[Namespace], root: Path, host: bool) -> Bench:
    node.ip("link", "add", "vxlan0", "type", "vxlan", "external", "dstport", "8472")
    vxlan, _ = node.link("vxlan0")
    number = _host_device(node) if host else 0
    settings = DatapathSettings(number, vxlan, bytes(6), 0, MTU, True, True)
    with node.entered():
        programs = asyncio.run(ensure_programs(settings, root))
        attachments = Attachments(programs, root)
        if host:
            attachments.attach_host(number)
    store = MapStore(root / "maps")
    kernel = KernelEndpoints(store, attachments)
    if host:
        kernel.replace_host_addresses([IPv4Address(ROUTER_V4)])
        store.ipcache.upsert({IpcacheKey(*pack_network(ROUTER_V4)): IpcacheInfo(1)})
    endpoints = (_pod(node, others[0], 0), _pod(node, others[1], 1))
    for endpoint in endpoints:
        with node.entered():
            asyncio.run(kernel.attach(endpoint))
        asyncio.run(kernel.upsert(endpoint))
    tunnel = TunnelInfo(pack_address("172.30.0.12"), 2)
    store.tunnels.upsert({IpcacheKey(*pack_network("10.0.1.0/24")): tunnel})
    _raw_pair(others[2], others[3])
    routed_pair(others[4], others[5], others[6])
    pods, raw, routed = (others[0], others[1]), (others[2], others[3]), (others[4], others[6])
    return Bench(node, pods, raw, routed, programs, store, endpoints, root.parent)


def _host_device(node: Namespace) -> int:
    node.ip("link", "add", "cilium_host", "type", "veth", "peer", "name", "cilium_net")
    for name in ("cilium_host", "cilium_net"):
        node.ip("link", "set", name, "arp", "off", "up", "mtu", str(MTU))
    node.ip("addr", "add", f"{ROUTER_V4}/32", "dev", "cilium_host")
    node.ip("route", "add", "10.0.0.0/24", "dev", "cilium_host", "src", ROUTER_V4)
    devices = ("all", "default", "cilium_host", "cilium_net")
    settings = [f"net.ipv4.conf.{device}.rp_filter=0" for device in devices]
    words = [*node.enter, "sysctl", "-qw", "net.ipv4.ip_forward=1", *settings]
    subprocess.run(words, check=True)
    return node.link("cilium_host")[0]


def _pod(node: Namespace, pod: Namespace, number: int) -> Endpoint:
    host = f"lxc{number}"
    peer = f"/proc/{os.getpid()}/fd/{pod.fd}"
    node.ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", peer)
    node.ip("link", "set", host, "up", "mtu", str(MTU))
    pod.ip("link", "set", "eth0", "up", "mtu", str(MTU))
    ifindex, node_mac = node.link(host)
    gateway = ":".join(f"{byte:02x}" for byte in node_mac)
    for family, address, router in (
        ("-4", POD_V4[number], "169.254.0.1"),
        ("-6", POD_V6[number], "fe80::1"),
    ):
        pod.ip(family, "addr", "add", address, "dev", "eth0", *(["nodad"] * (family == "-6")))
        pod.ip(family, "neigh", "add", router, "lladdr", gateway, "dev", "eth0", "nud", "permanent")
        pod.ip(family, "route", "add", "default", "via", router, "dev", "eth0", "onlink")
    return Endpoint(
        endpoint_id=number + 1,
        container_id=f"bench{number}",
        interface="eth0",
        netns=peer,
        pod_namespace="bench",
        pod_name=f"pod{number}",
        pod_uid="bench",
        ipv4=IPv4Address(POD_V4[number]),
        ipv6=IPv6Address(POD_V6[number]),
        host_interface=host,
        host_ifindex=ifindex,
        mac=pod.link("eth0")[1],
        node_mac=node_mac,
        identity=1000 + number,
    )


def _raw_pair(left: Namespace, right: Namespace) -> None:
    peer = f"/proc/{os.getpid()}/fd/{right.fd}"
    left.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer)
    for namespace, address in ((left, RAW_V4[0]), (right, RAW_V4[1])):
        namespace.ip("addr", "add", f"{address}/24", "dev", "eth0")
        namespace.ip("link", "set", "eth0", "up", "mtu", str(MTU))


def routed_pair(left: Namespace, router: Namespace, right: Namespace) -> None:
    """Join two namespaces over the stack of a third, left at ROUTED_V4[0], right at [1]."""
    for number, (end, address) in enumerate(((left, ROUTED_V4[0]), (right, ROUTED_V4[1]))):
        gateway = address.rsplit(".", 1)[0] + ".254"
        peer = f"/proc/{os.getpid()}/fd/{end.fd}"
        name = f"side{number}"
        router.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer)
        for namespace, device, own in ((router, name, gateway), (end, "eth0", address)):
            namespace.ip("addr", "add", f"{own}/24", "dev", device)
            namespace.ip("link", "set", device, "up", "mtu", str(MTU))
        end.ip("route", "add", "default", "via", gateway)
    subprocess.run([*router.enter, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
