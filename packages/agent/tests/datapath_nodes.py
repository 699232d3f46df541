# SPDX-License-Identifier: Apache-2.0
"""Nodes and pods as namespaces with real stacks, for the datapath's tests."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.endpoints import KernelEndpoints
from cilium_agent.datapath.programs import ensure_programs
from cilium_agent.datapath.store import MapStore
from cilium_agent.model import DatapathSettings, Endpoint
from cilium_core.addresses import pack_address, pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey, TunnelInfo

PROTO = {"tcp": 6, "udp": 17}
POOLS = {0: ("10.0.0.", "fd00::0:"), 1: ("10.0.1.", "fd00::1:")}
VIPS = {4: "10.96.0.10", 6: "fd00:96::10"}


@dataclass
class Pod:
    """A pod's namespace and what it is called."""

    namespace: object
    endpoint: Endpoint
    v4: str
    v6: str

    def address(self, family: int) -> str:
        return self.v4 if family == 4 else self.v6


class Node:
    """One node: underlay, cilium_vxlan, cilium_host, programs and maps of its own."""

    def __init__(self, number: int, namespace, bpffs: Path) -> None:
        self.number = number
        self.namespace = namespace
        self.underlay = {4: f"172.30.0.{11 + number}", 6: f"fd00:30::{11 + number}"}
        self.router = {4: POOLS[number][0] + "1", 6: POOLS[number][1] + "1"}
        self.root = bpffs / f"node{number}"

    def start(self) -> None:
        ip = self.namespace.ip
        ip("addr", "add", f"{self.underlay[4]}/24", "dev", "under")
        ip("addr", "add", f"{self.underlay[6]}/64", "dev", "under", "nodad")
        ip("link", "set", "under", "up")
        ip("link", "add", "cilium_vxlan", "type", "vxlan", "external", "dstport", "8472")
        ip("link", "set", "cilium_vxlan", "up", "mtu", "1450")
        ip("link", "add", "cilium_host", "type", "veth", "peer", "name", "cilium_net")
        for name in ("cilium_host", "cilium_net"):
            ip("link", "set", name, "arp", "off", "up")
        ip("addr", "add", f"{self.router[4]}/32", "dev", "cilium_host")
        ip("addr", "add", f"{self.router[6]}/128", "dev", "cilium_host", "nodad")
        for pool4, pool6 in POOLS.values():
            ip("route", "add", f"{pool4}0/24", "dev", "cilium_host", "src", self.router[4])
            ip("-6", "route", "add", f"{pool6}0/112", "dev", "cilium_host", "src", self.router[6])
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.namespace.run("sysctl", "-qw", f"net.{key}=1")
        for device in ("all", "default", "cilium_host", "cilium_net", "cilium_vxlan"):
            self.namespace.run("sysctl", "-qw", f"net.ipv4.conf.{device}.rp_filter=0")
        settings = DatapathSettings(
            self.namespace.ifindex("cilium_host"),
            self.namespace.ifindex("cilium_vxlan"),
            bytes(6),
            0,
            1450,
            True,
            True,
        )
        with self.namespace.entered():
            self.programs = asyncio.run(ensure_programs(settings, self.root))
            self.attachments = Attachments(self.programs, self.root)
            self.attachments.attach_host(settings.host_ifindex)
            self.attachments.attach_overlay(settings.vxlan_ifindex)
        self.store = MapStore(self.root / "maps")
        self.endpoints = KernelEndpoints(self.store, self.attachments)
        addresses = [*self.underlay.values(), *self.router.values()]
        self.endpoints.replace_host_addresses([ip_address(text) for text in addresses])
        self.store.ipcache.upsert(
            {IpcacheKey(*pack_network(text)): IpcacheInfo(1) for text in addresses}
        )

    def knows(self, other: Node, tunnel_family: int) -> None:
        """Learn the other node's pools and addresses, as the agent does from CiliumNodes."""
        tunnel = pack_address(other.underlay[tunnel_family])
        pool4, pool6 = POOLS[other.number]
        for network in (f"{pool4}0/24", f"{pool6}0/112"):
            self.store.tunnels.upsert({IpcacheKey(*pack_network(network)): TunnelInfo(tunnel, 1)})
        for address in (*other.underlay.values(), *other.router.values()):
            self.store.ipcache.upsert({IpcacheKey(*pack_network(address)): IpcacheInfo(6)})

    def add_pod(self, namespace, number: int) -> Pod:
        """Wire a pod as the CNI does: veth, addresses, permanent gateway neighbour."""
        host_name = f"lxc{number}"
        self.namespace.ip(
            "link", "add", host_name, "type", "veth", "peer", "name", "eth0",
            "netns", namespace.path,
        )  # fmt: skip
        self.namespace.ip("link", "set", host_name, "up")
        self.namespace.run("sysctl", "-qw", f"net.ipv4.conf.{host_name}.rp_filter=0")
        v4, v6 = f"{POOLS[self.number][0]}{number}", f"{POOLS[self.number][1]}{number}"
        gateway = self.mac(self.namespace, host_name)
        namespace.ip("link", "set", "eth0", "up", "mtu", "1450")
        namespace.ip("addr", "add", f"{v4}/32", "dev", "eth0")
        namespace.ip("addr", "add", f"{v6}/128", "dev", "eth0", "nodad")
        for family, router in self.router.items():
            words = [f"-{family}"]
            width = 32 if family == 4 else 128
            namespace.ip(*words, "route", "add", f"{router}/{width}", "dev", "eth0")
            namespace.ip(*words, "neigh", "add", router, "lladdr", gateway, "dev", "eth0")
            namespace.ip(*words, "route", "add", "default", "via", router, "dev", "eth0")
        endpoint = Endpoint(
            endpoint_id=number,
            container_id=f"c{number}",
            interface="eth0",
            netns=namespace.path,
            pod_namespace="test",
            pod_name=f"pod{number}",
            pod_uid="u",
            ipv4=ip_address(v4),
            ipv6=ip_address(v6),
            host_interface=host_name,
            host_ifindex=self.namespace.ifindex(host_name),
            mac=bytes.fromhex(self.mac(namespace, "eth0").replace(":", "")),
            node_mac=bytes.fromhex(gateway.replace(":", "")),
            identity=1000 + number,
        )
        with self.namespace.entered():
            asyncio.run(self.endpoints.attach(endpoint))
        asyncio.run(self.endpoints.upsert(endpoint))
        return Pod(namespace, endpoint, v4, v6)

    @staticmethod
    def mac(namespace, name: str) -> str:
        return json.loads(namespace.ip("-j", "link", "show", "dev", name))[0]["address"]

    def drops(self) -> dict[tuple[int, int], int]:
        totals = self.store.metrics.totals().items()
        return {(key.reason, key.direction): info.count for key, info in totals if key.reason}


def open_socket(namespace, family: int, kind: str) -> socket.socket:
    """Open a socket inside a namespace; it stays there."""
    with namespace.entered():
        made = socket.socket(
            socket.AF_INET if family == 4 else socket.AF_INET6,
            socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM,
        )
    made.settimeout(2)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def exchange(client_ns, target: str, port: int, server_ns, bind: str, bind_port: int,
    family: int, kind: str, size: int = 1,
) -> tuple[str, str]:  # fmt: skip
    """Send `size` bytes from one namespace to another and back.

    Returns the client's address as the server saw it and the peer as the client saw it.
    """
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    with open_socket(server_ns, family, kind) as server:
        server.bind((bind, bind_port))
        seen: list[str] = []

        def serve_tcp() -> None:
            server.listen()
            accepted, source = server.accept()
            seen.append(source[0])
            with accepted:
                accepted.settimeout(5)
                left = size
                while left:
                    data = accepted.recv(65536)
                    accepted.sendall(data)
                    left -= len(data)

        def serve_udp() -> None:
            data, source = server.recvfrom(65536)
            seen.append(source[0])
            server.sendto(data, source)

        if kind == "tcp":
            server.listen()
        thread = threading.Thread(target=serve_tcp if kind == "tcp" else serve_udp)
        thread.start()
        try:
            with open_socket(client_ns, family, kind) as client:
                client.connect((target, port))
                sender = threading.Thread(target=client.sendall, args=(payload,))
                sender.start()
                back = b""
                while len(back) < size:
                    back += client.recv(65536)
                sender.join()
                peer = client.getpeername()[0]
        finally:
            thread.join()
    assert back == payload
    return seen[0], peer


def two_nodes(root: Path, new_namespace: Callable[[], object]) -> tuple[list[Node], dict[str, Pod]]:
    """Return two nodes that know each other, with pods a1 and a2 on the first, b1 on the second."""
    nodes = [Node(number, new_namespace(), root) for number in (0, 1)]
    nodes[0].namespace.ip(
        "link", "add", "under", "type", "veth", "peer", "name", "under",
        "netns", nodes[1].namespace.path,
    )  # fmt: skip
    for node in nodes:
        node.start()
    nodes[0].knows(nodes[1], 4)
    nodes[1].knows(nodes[0], 4)
    pods = {
        "a1": nodes[0].add_pod(new_namespace(), 11),
        "a2": nodes[0].add_pod(new_namespace(), 12),
        "b1": nodes[1].add_pod(new_namespace(), 13),
    }
    for node in nodes:
        for pod in pods.values():
            for address in (pod.v4, pod.v6):
                key = IpcacheKey(*pack_network(address))
                node.store.ipcache.upsert({key: IpcacheInfo(pod.endpoint.identity)})
    return nodes, pods
