# SPDX-License-Identifier: Apache-2.0
"""Connections through a transparent proxy, real stacks: every leg, both families, TCP and UDP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from datapath_nodes import Node, Pod, exchange, open_socket, two_nodes
from datapath_proxy import Proxy
from pyroute2 import IPRoute

from cilium_agent.datapath.endpoints import Enforcement
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.programs import cleanup
from cilium_agent.host import redirects, sysctl
from cilium_core.layouts.redirect import BLOCK, RedirectInfo, RedirectKey
from cilium_core.marks import Mark
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey, Step

pytestmark = pytest.mark.root

PEERS = (1, 2, 6, 1011, 1012, 1013)  # host, world, remote nodes, pods
EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
OUT_PORT, OTHER_PORT, IN_PORT = 10001, 10003, 10002
PORT = 8080
GONE = 178
OPEN, SENDER, RECEIVER = 1, 2, 3  # policies: nothing led anywhere, egress led, ingress led


class World(NamedTuple):
    """Two nodes and their pods; only the first one's policies lead anywhere."""

    nodes: list[Node]
    pods: dict[str, Pod]

    def lead(self, policy: int, direction: Direction, port: int) -> None:
        """Lead every peer's TCP and UDP on the port to a rule set."""
        rows = {}
        for protocol in (6, 17):
            for identity in PEERS:
                at = (policy, identity, int(direction), protocol, PORT, 64)
                rows[RedirectKey(*at)] = RedirectInfo(*at, 0, port)
        self.nodes[0].store.redirects.upsert(rows)

    def enforce(self, **policies: int) -> None:
        """Put policies in force on the first node's pods, by name; the others have OPEN."""
        self.revision.append(0)
        node = self.nodes[0]
        numbers = {self.pods[name].endpoint.endpoint_id: n for name, n in policies.items()}
        node.endpoints.enforce(
            {
                number: Enforcement(numbers.get(number, OPEN), len(self.revision))
                for number in node.endpoints.enforced()
            }
        )

    @property
    def revision(self) -> list[int]:
        return REVISIONS


REVISIONS: list[int] = [0]


def prepare(node: Node) -> None:
    with node.namespace.entered():
        node.attachments.attach_netns()
        with IPRoute() as route:
            redirects.sync(route, (socket.AF_INET, socket.AF_INET6))
        sysctl.write_all(redirects.settings(ipv4=True))
    node.policy = KernelPolicy(node.store)
    allowed = Row(cells=(Cell(0, 1, 0, 0),))
    led = Row(cells=(Cell(0, 1, 0, 0), Cell(2, 0, 0, 1)))
    rows = {
        RowKey(number, way): allowed for number in (OPEN, SENDER, RECEIVER) for way in Direction
    }
    for protocol in (6, 17):
        rows[RowKey(SENDER, EGRESS, protocol, PORT, 16)] = led
        rows[RowKey(RECEIVER, INGRESS, protocol, PORT, 16)] = led
    bits = {(identity, word): 1 for identity in PEERS for word in (0, 2)}
    node.policy.apply([Step(bits=bits), Step(rows=rows)])


@pytest.fixture(scope="module")
def made(bpffs: Path, new_namespace: Callable) -> Iterator[World]:
    nodes, pods = two_nodes(bpffs / "redirect", new_namespace)
    for node in nodes:
        prepare(node)
    yield World(nodes, pods)
    for node in nodes:
        with node.namespace.entered(), IPRoute() as route:
            redirects.remove(route)
            assert "2004" not in node.namespace.ip("rule")
        node.store.close()
        cleanup(node.root)


@pytest.fixture
def world(made: World) -> World:
    made.nodes[0].store.redirects.replace({})
    connections = made.nodes[0].store.connections
    connections.delete_many([key for key, _ in connections.items()])
    made.lead(SENDER, EGRESS, OUT_PORT)
    made.lead(RECEIVER, INGRESS, IN_PORT)
    made.enforce()
    return made


@pytest.fixture
def proxies(world: World) -> Iterator[dict[str, Proxy]]:
    namespace = world.nodes[0].namespace
    with ExitStack() as running:
        yield {
            "out": running.enter_context(Proxy(namespace, OUT_PORT, Mark.EGRESS_PROXY)),
            "in": running.enter_context(Proxy(namespace, IN_PORT, Mark.INGRESS_PROXY)),
        }


WAYS = {
    "out to a pod here": ("a1", "a2", {"a1": SENDER}, ["out"]),
    "out to a pod there": ("a1", "b1", {"a1": SENDER}, ["out"]),
    "out to the node": ("a1", "node0", {"a1": SENDER}, ["out"]),
    "out to another node": ("a1", "node1", {"a1": SENDER}, ["out"]),
    "in from a pod here": ("a1", "a2", {"a2": RECEIVER}, ["in"]),
    "in from a pod there": ("b1", "a2", {"a2": RECEIVER}, ["in"]),
    "in from another node": ("node1", "a2", {"a2": RECEIVER}, ["in"]),
    "both, three legs": ("a1", "a2", {"a1": SENDER, "a2": RECEIVER}, ["out", "in"]),
    "neither": ("a2", "a1", {"a1": SENDER, "a2": RECEIVER}, []),
}


def place(world: World, name: str, family: int):
    if name.startswith("node"):
        node = world.nodes[int(name[4:])]
        return node.namespace, node.underlay[family]
    return world.pods[name].namespace, world.pods[name].address(family)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way(world: World, proxies, way: str, kind: str, family: int) -> None:
    source, target, policies, through = WAYS[way]
    world.enforce(**policies)
    client, _ = place(world, source, family)
    server, address = place(world, target, family)
    for _ in range(3):
        seen, peer = exchange(
            client,
            address,
            PORT,
            server,
            address,
            PORT,
            family,
            kind,
            100_000 if kind == "tcp" else 900,
        )
        if not source.startswith("node"):
            assert ip_address(seen) == ip_address(world.pods[source].address(family))
        assert ip_address(peer) == ip_address(address)
    for name, proxy in proxies.items():
        expected = 3 if name in through else 0
        assert len(proxy.seen) == expected, (name, proxy.seen)
        assert {(ip_address(a), p) for _, a, p in proxy.seen} <= {(ip_address(address), PORT)}
    assert not world.nodes[0].drops(), "nothing was dropped"


@contextmanager
def serving(world: World, name: str, family: int) -> Iterator[list[socket.socket]]:
    """An echo server; yields the connections that it has taken."""
    namespace, address = place(world, name, family)
    taken: list[socket.socket] = []
    with open_socket(namespace, family, "tcp") as listener:
        listener.bind((address, PORT))
        listener.listen(64)
        listener.settimeout(0.1)
        stop = threading.Event()

        def echo(connection: socket.socket) -> None:
            with suppress(OSError):
                while data := connection.recv(4096):
                    connection.sendall(data)

        def run() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    taken.append(listener.accept()[0])
                    threading.Thread(target=echo, args=(taken[-1],), daemon=True).start()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield taken
        finally:
            stop.set()
            thread.join()
            for connection in taken:
                connection.close()


def ends(connection: socket.socket) -> bool:
    """Write until the other side's reset is seen."""
    for _ in range(20):
        try:
            connection.sendall(b"z")
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(0.05)
    return False


def connected(world: World, family: int, source: str = "a1", target: str = "a2"):
    client = open_socket(world.pods[source].namespace, family, "tcp")
    client.settimeout(3)
    client.connect((place(world, target, family)[1], PORT))
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    return client


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("policies", [{"a1": SENDER}, {"a2": RECEIVER}])
def test_a_connection_older_than_the_policy_is_reset(world, proxies, family, policies) -> None:
    """Its client at once; its server as soon as it speaks."""
    with serving(world, "a2", family) as taken, connected(world, family) as client:
        world.enforce(**policies)
        begun = time.monotonic()
        client.sendall(b"y")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert time.monotonic() - begun < 0.5
        time.sleep(0.05)
        assert ends(taken[0])
        with connected(world, family):
            assert sum(len(proxy.seen) for proxy in proxies.values()) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_another_rule_set_resets_and_another_block_does_not(world, proxies, family) -> None:
    namespace = world.nodes[0].namespace
    world.enforce(a1=SENDER)
    with (
        serving(world, "a2", family),
        Proxy(namespace, OUT_PORT + BLOCK, Mark.EGRESS_PROXY) as green,
        Proxy(namespace, OTHER_PORT, Mark.EGRESS_PROXY) as other,
        connected(world, family) as client,
    ):
        world.lead(SENDER, EGRESS, OUT_PORT + BLOCK)
        world.enforce(a1=SENDER)
        for _ in range(3):
            client.sendall(b"y")
            assert client.recv(1) == b"y"
        connected(world, family).close()
        assert (len(proxies["out"].seen), len(green.seen)) == (1, 1)
        world.lead(SENDER, EGRESS, OTHER_PORT)
        world.enforce(a1=SENDER)
        client.sendall(b"y")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxies["out"].resets == 1, "the old proxy lets it go"
        connected(world, family).close()
        assert len(other.seen) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_no_longer_led(world, proxies, family) -> None:
    world.enforce(a1=SENDER)
    with serving(world, "a2", family), connected(world, family) as client:
        world.enforce()
        client.sendall(b"y")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        connected(world, family).close()
        assert len(proxies["out"].seen) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_ports_in_time_wait_are_used_again(world, proxies, family) -> None:
    """A client that comes from the same port again and again, through both proxies."""
    world.enforce(a1=SENDER, a2=RECEIVER)
    with serving(world, "a2", family):
        begun = time.monotonic()
        for _ in range(50):
            with open_socket(world.pods["a1"].namespace, family, "tcp") as client:
                client.bind((world.pods["a1"].address(family), 40_000))
                client.connect((world.pods["a2"].address(family), PORT))
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0])
                )
        assert time.monotonic() - begun < 5
    assert len(proxies["out"].seen) == len(proxies["in"].seen) == 50


@pytest.mark.parametrize("family", [4, 6])
def test_a_listener_that_goes_and_comes_back(world: World, family: int) -> None:
    world.enforce(a1=SENDER)
    node = world.nodes[0]
    with serving(world, "a2", family):
        for _ in range(2):
            before = node.drops().get((GONE, int(EGRESS)), 0)
            with open_socket(world.pods["a1"].namespace, family, "tcp") as client:
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    client.connect((world.pods["a2"].address(family), PORT))
            assert node.drops()[GONE, int(EGRESS)] > before
            with Proxy(node.namespace, OUT_PORT, Mark.EGRESS_PROXY) as proxy:
                connected(world, family).close()
                assert len(proxy.seen) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_from_a_port_of_the_proxies_is_refused(world: World, proxies, family: int) -> None:
    world.enforce(a1=SENDER)
    with (
        serving(world, "a2", family),
        open_socket(world.pods["a1"].namespace, family, "tcp") as client,
    ):
        client.bind((world.pods["a1"].address(family), 62_000))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.connect((world.pods["a2"].address(family), PORT))
    assert world.nodes[0].drops()[180, int(EGRESS)]
