# SPDX-License-Identifier: Apache-2.0
"""What the feed makes of objects: API servers by where they are, identities by their names."""

from __future__ import annotations

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cilium_agent.k8s.objects import Meta, SliceEndpoint, SliceObject
from cilium_agent.policy.feed import PolicyFeed, PrefixLabels
from cilium_agent.policy.repository import Repository
from cilium_core.crds.models import (
    CiliumCIDRGroup,
    CiliumIdentity,
    CiliumNode,
    CiliumNodeSpec,
    NodeAddress,
    ObjectMeta,
)


class Keeper:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.apiserver: tuple[dict[str, str], bool] = ({}, False)
        self.identities: dict[int, Any] = {}
        self.policies: dict[object, Any] = {}
        self.prefixes: set[Any] = set()

    def set_prefixes(self, wanted: set[Any]) -> None:
        self.prefixes = wanted

    def set_apiserver(self, labels: dict[str, str], *, on_this_node: bool) -> None:
        self.apiserver = (labels, on_this_node)

    def set_identity(self, number: int, labels: Any) -> None:
        self.identities[number] = labels

    def set_policies(self, owner: object, policies: Any) -> None:
        self.policies[owner] = policies


@pytest.fixture
def fed() -> tuple[Keeper, PolicyFeed]:
    keeper = Keeper()
    nothing = SimpleNamespace(on_change=lambda _handler: None)
    watches = SimpleNamespace(
        ciliumidentities=nothing,
        slices=nothing,
        ciliumcidrgroups=nothing,
        ciliumnodes=nothing,
        policies=lambda: (),
    )
    repository = Repository("default", (4, 6))
    labels = PrefixLabels(dual_stack=True)
    feed = PolicyFeed(watches, keeper, labels, repository, "node1", "always")  # type: ignore[arg-type]
    feed.attach()
    return keeper, feed


def servers(*addresses: str) -> SliceObject:
    meta = Meta(
        name="kubernetes",
        namespace="default",
        labels={"kubernetes.io/service-name": "kubernetes"},
    )
    listed = [SliceEndpoint(addresses=list(addresses))]
    return SliceObject(metadata=meta, address_type="IPv4", endpoints=listed)


def node(name: str, *addresses: str) -> CiliumNode:
    spec = CiliumNodeSpec(addresses=[NodeAddress(type="InternalIP", ip=a) for a in addresses])
    return CiliumNode(metadata=ObjectMeta(name=name), spec=spec)


def test_an_api_server_outside_is_the_world_and_its_prefixes(fed: Any) -> None:
    keeper, feed = fed
    feed._slice(None, servers("192.0.2.1"))
    assert keeper.apiserver == ({}, False)
    server = ip_network("192.0.2.1/32")
    assert keeper.prefixes == {server}
    assert {
        "reserved:kube-apiserver",
        "reserved:world-ipv4",
        "cidr:192.0.2.1/32",
        "cidr:192.0.2.0/24",
    } <= set(feed._labels(server))
    feed._slice(servers("192.0.2.1"), None)
    assert keeper.prefixes == set()
    assert "reserved:kube-apiserver" not in feed._labels(server)


def test_api_servers_outside_are_told_apart(fed: Any) -> None:
    """A rule for the address of one is no rule for the others, nor for those on nodes."""
    keeper, feed = fed
    feed._node(None, node("node2", "172.30.0.12"))
    feed._slice(None, servers("192.0.2.1", "192.0.2.2", "172.30.0.12"))
    one, other = (ip_network(f"192.0.2.{n}/32") for n in (1, 2))
    assert keeper.prefixes == {one, other}
    assert keeper.apiserver == ({"reserved:remote-node": ""}, False)
    assert "cidr:192.0.2.1/32" in feed._labels(one)
    assert "cidr:192.0.2.1/32" not in feed._labels(other)


def test_an_api_server_is_in_groups_that_come_and_go_later(fed: Any) -> None:
    keeper, feed = fed
    feed._slice(None, servers("192.0.2.1"))
    server = ip_network("192.0.2.1/32")
    before = feed._labels(server)
    group = msgspec.convert(
        {"metadata": {"name": "g"}, "spec": {"externalCIDRs": ["192.0.2.0/24"]}}, CiliumCIDRGroup
    )
    feed._group(None, group)
    assert any(key.startswith("cidrgroup:") for key in feed._labels(server))
    assert server in keeper.prefixes
    feed._group(group, None)
    assert feed._labels(server) == before


def test_an_api_server_on_another_node_is_a_remote_node(fed: Any) -> None:
    keeper, feed = fed
    feed._slice(None, servers("172.30.0.12"))
    feed._node(None, node("node2", "172.30.0.12"))
    assert keeper.apiserver == ({"reserved:remote-node": ""}, False)


def test_an_api_server_on_this_node_is_its_host(fed: Any) -> None:
    keeper, feed = fed
    feed._node(None, node("node1", "172.30.0.11"))
    feed._slice(None, servers("172.30.0.11"))
    assert keeper.apiserver == ({}, True)
    feed._slice(servers("172.30.0.11"), None)
    assert keeper.apiserver == ({}, False)


@pytest.mark.parametrize("name", ["1", "2", "255", "99999999999", "0300", "x"])
def test_odd_identities_are_left_out(fed: Any, name: str) -> None:
    keeper, feed = fed
    feed._identity(None, CiliumIdentity(metadata=ObjectMeta(name=name), security_labels={}))
    assert keeper.identities == {}


def test_in_mode_always_everybody_is_selected(fed: Any) -> None:
    keeper, _ = fed
    (policy,) = keeper.policies["always"]
    assert policy.subject.matches({"k8s:any": "thing"})
    assert len(policy.default_deny) == 2
