# SPDX-License-Identifier: Apache-2.0
"""Names in the real kernel: a packet's fate before and after an answer, and after its last use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from datapath_packets import Talk, tcp
from policy_world import DB, policy

from cilium_agent.datapath import conntrack
from cilium_agent.datapath.enforcement import PolicyMaps
from cilium_agent.fqdn.identities import Around, NameIdentities
from cilium_agent.fqdn.journal import Journal
from cilium_agent.fqdn.names import Answer, Names
from cilium_agent.fqdn.rows import IpcacheNames
from cilium_agent.fqdn.running import Upkeep
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.prefixes import IpcachePrefixes
from cilium_core.addresses import pack_address
from cilium_core.fqdn.cache import NameCache
from cilium_core.layouts.datapath import EndpointKey
from cilium_core.policy.language import fqdns

pytestmark = pytest.mark.root

DENIED = (133, 2)
NAME = "www.example.com."


@dataclass
class Pod:
    """What `Upkeep` asks of an endpoint."""

    endpoint_id: int
    ipv4: Any
    ipv6: Any


class Node:
    """Names, policy and ipcache of the pod (endpoint 7) over the kernel's maps."""

    def __init__(self, kernel: Any, worlds: dict[int, dict[str, str]], folder: Path) -> None:
        self.kernel, self.now = kernel, 1000.0
        store = kernel.store
        local = store.endpoints.current
        self.writer = IpcacheWriter(store.ipcache, lambda raw: EndpointKey(raw) in local)
        labels = PrefixLabels(dual_stack=True)
        cidrs = CidrIdentities(labels)
        self.journal = Journal(folder)
        self.names = Names(
            NameCache(),
            NameIdentities(cidrs.draw, (4, 6)),
            Around(labels),
            IpcacheNames(self.writer),
            self.journal,
            clock=lambda: self.now,
        )
        self.maps = PolicyMaps(store)
        self.maps.kernel = kernel.policy  # its shadow is what the next test clears
        self.keeper = PolicyKeeper(self.maps, IpcachePrefixes(self.writer), cidrs, None, self.names)
        self.names.flush = self.keeper.flush
        pods = {ip_address(world["pod"]): 7 for world in worlds.values()}
        self.names.endpoint_at = pods.get
        v4, v6 = pods
        self.upkeep = Upkeep(
            self.names,
            self.journal,
            lambda by: conntrack.opened(store.connections, by),
            lambda: [Pod(7, v4, v6)],  # type: ignore[list-item]
        )
        said = policy({"egress": [{"toFQDNs": [{"matchPattern": "*.example.com"}]}]})
        self.keeper.set_policies("p", said)
        self.keeper.set_names(name for one in said for name in fqdns(one))
        self.keeper.start(lambda _number: None)
        self.writer._may_delete = True
        self.keeper.prepare(7, 1001, DB)
        assigned = self.keeper.assigned(7)
        assert assigned is not None
        kernel.enforce(7, *assigned)
        self.keeper.settled(7)
        self.keeper.flush()

    def learn(self, talk: Talk, ttl: float = 60) -> None:
        addresses = (ip_address(talk.world["world"]),)
        self.names.learn([Answer(ip_address(talk.world["pod"]), NAME, addresses, ttl)])

    def clear(self) -> None:
        bits, policies = self.maps.records()
        self.maps.record(dict.fromkeys(bits), dict.fromkeys(policies))


@pytest.fixture
def node(kernel: Any, worlds: dict[int, dict[str, str]], tmp_path: Path) -> Iterator[Node]:
    made = Node(kernel, worlds, tmp_path)
    yield made
    made.clear()


@pytest.fixture(params=[4, 6])
def talk(kernel: Any, worlds: dict[int, dict[str, str]], request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def test_the_packet_behind_an_answer_passes(node: Node, talk: Talk) -> None:
    assert DENIED in talk.pod(tcp(), "world").reasons
    node.learn(talk)
    assert DENIED not in talk.pod(tcp(), "world").reasons
    assert node.keeper.engine.tables == node.maps.kernel.adopt()


async def test_a_connection_keeps_its_address_and_a_silent_one_does_not(
    node: Node, talk: Talk
) -> None:
    node.learn(talk, ttl=5)
    assert DENIED not in talk.pod(tcp(), "world").reasons
    node.now += 10
    node.names.end()
    found = conntrack.opened(talk.kernel.store.connections, {pack_address(talk.world["pod"])})
    assert found == {pack_address(talk.world["pod"]): {pack_address(talk.world["world"])}}
    node.now += 60
    await node.upkeep.walk()
    assert DENIED not in talk.pod(tcp(flags="A"), "world").reasons
    talk.kernel.expire(1 << 30)
    node.now += 60
    await node.upkeep.walk()
    assert DENIED in talk.pod(tcp(sport=4002), "world").reasons
    await node.upkeep.walk()  # nothing waits: no walk


def test_an_established_connection_ends_with_its_name(node: Node, talk: Talk) -> None:
    node.learn(talk)
    talk.pod(tcp(), "world")
    assert DENIED not in talk.pod(tcp(flags="A"), "world").reasons
    address = ip_address(talk.world["world"])
    node.names.clean([(7, ("www.example.com", address))])
    assert DENIED in talk.pod(tcp(flags="A"), "world").reasons
