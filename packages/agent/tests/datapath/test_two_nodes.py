# SPDX-License-Identifier: Apache-2.0
"""Two nodes, three pods, real stacks: what BPF_PROG_TEST_RUN cannot show (redirects, the VNI)."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from datapath_nodes import PROTO, VIPS, Node, Pod, exchange, open_socket, two_nodes
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from cilium_agent.datapath.endpoints import Enforcement
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.programs import cleanup
from cilium_core.addresses import pack_address, pack_network
from cilium_core.identity import LOCAL_SCOPE
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    IpcacheInfo,
    IpcacheKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey, Step

pytestmark = pytest.mark.root

PEERS = (1, 2, 6, 1011, 1012, 1013, 1044)  # host, world, remote nodes, pods


@dataclass
class Cluster:
    nodes: list[Node]
    pods: dict[str, Pod]


@pytest.fixture(scope="module", params=["no policy", "policy"])
def cluster(
    bpffs: Path, new_namespace: Callable, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """Two nodes and three pods, without a policy and with one that names every peer there is."""
    nodes, pods = two_nodes(bpffs, new_namespace)
    for node in nodes:
        node.policy = KernelPolicy(node.store)
        if request.param == "policy":
            known = Row(cells=(Cell(0, 1, 0, 0),))
            node.policy.apply(
                [
                    Step(bits={(identity, 0): 1 for identity in PEERS}),
                    Step(rows={RowKey(1, direction): known for direction in Direction}),
                ]
            )
            node.endpoints.enforce(dict.fromkeys(node.endpoints.enforced(), Enforcement(1, 1)))
    yield Cluster(nodes, pods)
    for node in nodes:
        node.store.close()
        cleanup(node.root)
        assert not node.root.exists()


PAIRS = [("a1", "a2"), ("a2", "a1"), ("a1", "b1"), ("b1", "a2")]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_pods_reach_each_other(cluster: Cluster, source: str, target: str, family: int) -> None:
    client, server = cluster.pods[source], cluster.pods[target]
    before = [node.drops() for node in cluster.nodes]
    address = server.address(family)
    client.namespace.run("ping", "-c", "1", "-W", "2", address)
    for kind, size in (("tcp", 1 << 20), ("udp", 1000)):
        seen, peer = exchange(
            client.namespace, address, 8080, server.namespace, address, 8080, family, kind, size
        )
        assert ip_address(seen) == ip_address(client.address(family))
        assert ip_address(peer) == ip_address(address)
    assert [node.drops() for node in cluster.nodes] == before


@pytest.mark.parametrize("family", [4, 6])
def test_big_datagrams_are_fragmented_and_arrive(cluster: Cluster, family: int) -> None:
    for source, target in (("a1", "a2"), ("a1", "b1")):
        client, server = cluster.pods[source], cluster.pods[target]
        address = server.address(family)
        exchange(
            client.namespace, address, 9000, server.namespace, address, 9000, family, "udp", 4000
        )


@pytest.mark.parametrize("family", [4, 6])
def test_host_and_pods(cluster: Cluster, family: int) -> None:
    """Host to its own pod, pod to its own host, host to a pod of the other node, and back."""
    nodes, pods = cluster.nodes, cluster.pods
    for node, pod in ((nodes[0], "a1"), (nodes[1], "b1"), (nodes[0], "b1")):
        address = pods[pod].address(family)
        node.namespace.run("ping", "-c", "1", "-W", "2", address)
        seen, _ = exchange(
            node.namespace, address, 8081, pods[pod].namespace, address, 8081, family, "tcp", 100000
        )
        assert ip_address(seen) == ip_address(node.router[family])
    for address in (nodes[0].underlay[family], nodes[0].router[family]):
        exchange(
            pods["a1"].namespace, address, 8082, nodes[0].namespace, address, 8082, family, "tcp"
        )


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("target", ["a1", "a2", "b1", "node"])
def test_services_without_socket_hooks(
    cluster: Cluster, target: str, kind: str, family: int
) -> None:
    """No hook on these sockets: packets are translated, and answers come back as the VIP.

    A pod that is its own backend sees the VIP on both sides.
    """
    nodes, pods = cluster.nodes, cluster.pods
    if target == "node":
        namespace, address = nodes[0].namespace, nodes[0].underlay[family]
    else:
        namespace, address = pods[target].namespace, pods[target].address(family)
    store, service = nodes[0].store, 50
    row = BackendInfo(pack_address(address), 8088, PROTO[kind], backend_id=5)
    store.backends.upsert({BackendKey(5): row})
    store.slots.upsert({SlotKey(service, 0): SlotInfo(5, service)})
    key = ServiceKey(pack_address(VIPS[family]), 80, PROTO[kind])
    store.services.replace({key: ServiceInfo(service, 1)})
    size = 1 << 18 if kind == "tcp" else 500
    seen, peer = exchange(
        pods["a1"].namespace, VIPS[family], 80, namespace, address, 8088, family, kind, size
    )
    store.services.replace({})
    client = VIPS[family] if target == "a1" else pods["a1"].address(family)
    assert ip_address(seen) == ip_address(client)
    assert ip_address(peer) == ip_address(VIPS[family])


def sniff(namespace, device: str, wanted: Callable[[Packet], object], act: Callable[[], object]):
    """Run `act` and return the first non-empty `wanted(frame)` seen on the device, or None."""
    with namespace.entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        raw.bind((device, 0))
    with raw:
        raw.settimeout(0.2)
        act()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                found = wanted(Ether(raw.recv(65536)))
            except TimeoutError:
                continue
            if found:
                return found
    return None


def vni_to(address: str) -> Callable[[Packet], object]:
    def wanted(frame: Packet) -> object:
        if VXLAN not in frame:
            return None
        inner = frame[VXLAN].payload
        network = inner.getlayer(IP) or inner.getlayer(IPv6)
        if network is None or ip_address(network.dst) != ip_address(address):
            return None
        return frame[VXLAN].vni

    return wanted


@pytest.mark.parametrize("family", [4, 6])
def test_the_vni_is_the_senders_identity(cluster: Cluster, family: int) -> None:
    node, pods = cluster.nodes[0], cluster.pods
    target = pods["b1"].address(family)

    def from_pod() -> None:
        pods["a1"].namespace.run("ping", "-c", "1", "-W", "2", target)

    def from_host() -> None:
        node.namespace.run("ping", "-c", "1", "-W", "2", target)

    def from_outside() -> None:
        with suppress(AssertionError):  # the other node may not let it in
            node.namespace.run("ping", "-c", "1", "-W", "1", target)

    assert sniff(node.namespace, "under", vni_to(target), from_pod) == 1011
    assert sniff(node.namespace, "under", vni_to(target), from_host) == 6
    # A prefix's number means nothing on another node: there it is the family's world.
    keys = [IpcacheKey(*pack_network(own[family])) for own in (node.underlay, node.router)]
    before = {key: row for key in keys if (row := node.store.ipcache.current.get(key))}
    node.store.ipcache.upsert(dict.fromkeys(keys, IpcacheInfo(LOCAL_SCOPE + 5)))
    world = sniff(node.namespace, "under", vni_to(target), from_outside)
    node.store.ipcache.delete(keys)
    node.store.ipcache.upsert(before)
    assert world == {4: 9, 6: 10}[family]


def test_a_tunnel_over_ipv6(cluster: Cluster) -> None:
    nodes, pods = cluster.nodes, cluster.pods
    for pod in pods.values():  # the outer header is 20 bytes longer than over IPv4
        pod.namespace.ip("link", "set", "eth0", "mtu", "1430")
    try:
        nodes[0].knows(nodes[1], 6)
        nodes[1].knows(nodes[0], 6)
        for family in (4, 6):
            target = pods["b1"].address(family)
            exchange(
                pods["a1"].namespace, target, 8090, pods["b1"].namespace, target, 8090,
                family, "tcp", 100000,
            )  # fmt: skip
    finally:
        for pod in pods.values():
            pod.namespace.ip("link", "set", "eth0", "mtu", "1450")
        nodes[0].knows(nodes[1], 4)
        nodes[1].knows(nodes[0], 4)


def send_vxlan(cluster: Cluster, vni: int, inner: bytes) -> None:
    """Send a tunnel packet of our own making from node 0 to node 1."""
    nodes = cluster.nodes
    with open_socket(nodes[0].namespace, 4, "udp") as out:
        out.sendto(struct.pack("!BxxxI", 8, vni << 8) + inner, (nodes[1].underlay[4], 8472))


def inner_frame(family: int, target: str) -> bytes:
    source = "10.0.0.99" if family == 4 else "fd00::0:99"
    layer = IP if family == 4 else IPv6
    body = UDP(sport=1, dport=7) / Raw(b"marker")
    return bytes(Ether(dst="02:00:00:00:00:07") / layer(src=source, dst=target) / body)


@pytest.mark.parametrize("family", [4, 6])
def test_overlay_delivers_to_the_pod_with_its_macs(cluster: Cluster, family: int) -> None:
    pod = cluster.pods["b1"]
    frame = inner_frame(family, pod.address(family))

    def wanted(seen: Packet) -> object:
        return seen if b"marker" in bytes(seen) and UDP in seen else None

    got = sniff(pod.namespace, "eth0", wanted, lambda: send_vxlan(cluster, 1011, frame))
    assert got is not None
    assert bytes.fromhex(got.dst.replace(":", "")) == pod.endpoint.mac
    assert bytes.fromhex(got.src.replace(":", "")) == pod.endpoint.node_mac
    assert (got[IP].ttl if family == 4 else got[IPv6].hlim) == 63


OVERLAY_DROPS = {
    "identity zero": (0, "pod", 171),
    "claims to be our host": (1, "pod", 171),
    "nobody's address": (1011, "stranger", 151),
    "world through us": (1011, "world", 151),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", OVERLAY_DROPS)
def test_overlay_refuses(cluster: Cluster, name: str, family: int) -> None:
    vni, target, reason = OVERLAY_DROPS[name]
    addresses = {
        "pod": cluster.pods["b1"].address(family),
        "stranger": "10.0.1.200" if family == 4 else "fd00::1:200",
        "world": "198.51.100.1" if family == 4 else "2001:db8::1",
    }
    node, key = cluster.nodes[1], (reason, 1)
    before = node.drops().get(key, 0)
    send_vxlan(cluster, vni, inner_frame(family, addresses[target]))
    deadline = time.monotonic() + 2
    while node.drops().get(key, 0) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert node.drops().get(key, 0) == before + 1


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_cannot_lend_its_address(cluster: Cluster, family: int) -> None:
    """A frame with a2's source from a1's device goes nowhere."""
    nodes, pods = cluster.nodes, cluster.pods
    layer = IP if family == 4 else IPv6
    frame = bytes(
        Ether(dst=pods["a1"].endpoint.node_mac, src=pods["a1"].endpoint.mac)
        / layer(src=pods["a2"].address(family), dst=pods["b1"].address(family))
        / TCP(sport=1, dport=2)
    )
    before = nodes[0].drops().get((132, 2), 0)
    with pods["a1"].namespace.entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
    with raw:
        raw.send(frame)
    deadline = time.monotonic() + 2
    while nodes[0].drops().get((132, 2), 0) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert nodes[0].drops().get((132, 2), 0) == before + 1


class Ward:
    """Policy 2 on one pod, for a test: rows and bits as given, everything back at the end."""

    def __init__(self, node: Node, pod: Pod) -> None:
        self.node, self.endpoint_id = node, pod.endpoint.endpoint_id
        self.before = node.endpoints.enforced()[self.endpoint_id]
        self.revision = 10

    def __enter__(self) -> Ward:
        return self

    def put(self, **rows: Row) -> None:
        """Put rows in force, by direction name."""
        keys = {RowKey(2, Direction[name.upper()]): row for name, row in rows.items()}
        self.node.policy.apply([Step(rows=keys)])
        self.revision += 1
        self.node.endpoints.enforce({self.endpoint_id: Enforcement(2, self.revision)})

    def __exit__(self, *_: object) -> None:
        self.node.endpoints.enforce({self.endpoint_id: self.before})
        policy = self.node.policy
        policy.apply([Step(rows={key: None for key in policy.tables.rows if key.policy == 2})])


ALLOW, DENY = Row(any_allow=True), Row()


def connects(source: Pod, target: Pod, family: int) -> bool:
    """Tell whether a TCP connection comes about at once."""
    address = target.address(family)
    with open_socket(target.namespace, family, "tcp") as server:
        server.bind((address, 8070))
        server.listen()
        with open_socket(source.namespace, family, "tcp") as client:
            client.settimeout(0.3)
            try:
                client.connect((address, 8070))
            except TimeoutError:
                return False
            return True


@pytest.mark.parametrize("cluster", ["no policy"], indirect=True)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_denied_by_either_end(cluster: Cluster, source: str, target: str, family: int) -> None:
    nodes = {name: cluster.nodes[0 if name.startswith("a") else 1] for name in cluster.pods}
    client, server = cluster.pods[source], cluster.pods[target]
    with Ward(nodes[source], client) as ward:
        ward.put(egress=DENY, ingress=ALLOW)
        before = nodes[source].drops().get((133, 2), 0)
        assert not connects(client, server, family)
        assert nodes[source].drops()[133, 2] > before
        ward.put(egress=ALLOW, ingress=DENY)
        assert connects(client, server, family), "its own answers come in"
        assert not connects(server, client, family)
    with Ward(nodes[target], server) as ward:
        ward.put(egress=DENY, ingress=DENY)
        before = nodes[target].drops().get((133, 1), 0)
        assert not connects(client, server, family)
        assert nodes[target].drops()[133, 1] > before
        ward.put(egress=DENY, ingress=ALLOW)
        assert connects(client, server, family)


@pytest.mark.parametrize("cluster", ["no policy"], indirect=True)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["a2", "b1"])
def test_a_deny_ends_an_established_connection(cluster: Cluster, target: str, family: int) -> None:
    """And its removal lets it go on, if the ends have had the patience."""
    client, server = cluster.pods["a1"], cluster.pods[target]
    address = server.address(family)
    with (
        Ward(cluster.nodes[0], client) as ward,
        open_socket(server.namespace, family, "tcp") as listener,
        open_socket(client.namespace, family, "tcp") as here,
    ):
        ward.put(egress=ALLOW, ingress=ALLOW)
        listener.bind((address, 8071))
        listener.listen()
        here.connect((address, 8071))
        there, _ = listener.accept()
        with there:
            there.settimeout(0.4)
            here.send(b"1")
            assert there.recv(10) == b"1"
            ward.put(egress=DENY, ingress=ALLOW)
            here.send(b"2")
            with pytest.raises(TimeoutError):
                there.recv(10)
            there.send(b"3")
            here.settimeout(0.4)
            with pytest.raises(TimeoutError):
                here.recv(10)
            ward.put(egress=ALLOW, ingress=ALLOW)
            there.settimeout(10)
            here.settimeout(10)
            assert there.recv(10) == b"2"
            assert here.recv(10) == b"3"


@pytest.mark.parametrize("cluster", ["no policy"], indirect=True)
@pytest.mark.parametrize("family", [4, 6])
def test_the_identity_on_the_wire_decides_on_the_other_node(cluster: Cluster, family: int) -> None:
    """One of two pods behind the same tunnel is allowed."""
    with Ward(cluster.nodes[1], cluster.pods["b1"]) as ward:
        cluster.nodes[1].policy.apply([Step(bits={(1011, 7): 1})])
        ward.put(egress=ALLOW, ingress=Row(cells=(Cell(7, 1, 0, 0),)))
        assert connects(cluster.pods["a1"], cluster.pods["b1"], family)
        assert not connects(cluster.pods["a2"], cluster.pods["b1"], family)


@pytest.mark.parametrize("cluster", ["no policy"], indirect=True)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("vni", [2, 9, 10])
def test_who_comes_from_outside_by_another_node_is_who_he_is_here(
    cluster: Cluster, family: int, vni: int
) -> None:
    """The other node's number for a prefix that rules except is not said; the world may come in."""
    node, pod = cluster.nodes[1], cluster.pods["b1"]
    excepted = IpcacheKey(*pack_network("10.0.0.99" if family == 4 else "fd00::0:99"))
    number, key = LOCAL_SCOPE + 5, (181, 1)
    node.store.ipcache.upsert({excepted: IpcacheInfo(number)})
    node.policy.apply([Step(bits={(vni, 4): 1, (number, 4): 1, (number, 5): 1})])
    with Ward(node, pod) as ward:
        ward.put(egress=ALLOW, ingress=Row(cells=(Cell(4, 1, 0, 0), Cell(5, 0, 1, 0))))
        before = node.drops().get(key, 0)
        send_vxlan(cluster, vni, inner_frame(family, pod.address(family)))
        deadline = time.monotonic() + 2
        while node.drops().get(key, 0) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        denied = node.drops().get(key, 0) - before
    node.store.ipcache.delete([excepted])
    node.policy.apply([Step(bits=dict.fromkeys([(vni, 4), (number, 4), (number, 5)]))])
    assert denied == 1


@pytest.mark.parametrize("cluster", ["no policy"], indirect=True)
@pytest.mark.parametrize("family", [4, 6])
def test_probes_of_the_own_host_pass_and_another_nodes_do_not(
    cluster: Cluster, family: int
) -> None:
    pod = cluster.pods["b1"]
    address = pod.address(family)
    with Ward(cluster.nodes[1], pod) as ward:
        ward.put(egress=DENY, ingress=DENY)
        ping = ("ping", "-c", "1", "-W", "1", address)
        cluster.nodes[1].namespace.run(*ping)
        with pytest.raises(AssertionError):
            cluster.nodes[0].namespace.run(*ping)


def test_a_deleted_endpoint_is_gone_and_leaves_nothing(cluster: Cluster, new_namespace) -> None:
    node = cluster.nodes[0]
    rows = dict(node.store.endpoints.current)
    pod = node.add_pod(new_namespace(), 44)
    exchange(
        pod.namespace, cluster.pods["a1"].v4, 8099, cluster.pods["a1"].namespace,
        cluster.pods["a1"].v4, 8099, 4, "tcp",
    )  # fmt: skip
    with node.namespace.entered():
        asyncio.run(node.endpoints.delete(pod.endpoint))
        asyncio.run(node.endpoints.detach(pod.endpoint))
    assert dict(node.store.endpoints.kernel.items()) == rows
    assert IpcacheKey(*pack_network(pod.v4)) not in node.store.ipcache.current
    gone = pack_address(pod.v4)
    assert not any(gone in (key.local, key.peer) for key, _ in node.store.connections.items())
    assert not (node.root / "links" / f"from_container-{pod.endpoint.host_ifindex}").exists()
    asyncio.run(node.endpoints.adopt([cluster.pods["a1"].endpoint, cluster.pods["a2"].endpoint]))
    assert dict(node.store.endpoints.kernel.items()) == rows
