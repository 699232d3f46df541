# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes objects say of prefixes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from cilium_agent.ipcache import sources
from cilium_agent.ipcache.fold import Metadata, PrefixFold, Source
from cilium_agent.k8s.objects import Meta, SliceEndpoint, SliceObject
from cilium_core.crds import models


def endpoint(node: str, identity: int = 300) -> models.CiliumEndpoint:
    networking = models.EndpointNetworking(
        addressing=[models.AddressPair(ipv4="10.0.1.2", ipv6="fd00::2")], node=node
    )
    status = models.CiliumEndpointStatus(
        identity=models.EndpointIdentity(id=identity), networking=networking
    )
    meta = models.ObjectMeta(name="web", creation_timestamp="2026-01-01T00:00:00Z")
    return models.CiliumEndpoint(metadata=meta, status=status)


def test_remote_pod_goes_through_its_node() -> None:
    rows = sources.of_endpoint(endpoint("172.30.0.12"), frozenset({ip_address("172.30.0.11")}))
    said = Metadata(Source.POD, 300, ip_address("172.30.0.12"), "2026-01-01T00:00:00Z")
    assert rows == {ip_network("10.0.1.2/32"): said, ip_network("fd00::2/128"): said}


def test_own_pods_and_pods_without_identity_say_nothing() -> None:
    own = frozenset({ip_address("172.30.0.11")})
    assert sources.of_endpoint(endpoint("172.30.0.11"), own) == {}
    assert sources.of_endpoint(endpoint("172.30.0.12", identity=0), own) == {}


def test_world_is_split_only_when_both_families_are_in_use() -> None:
    dual = {str(p): m.identity for p, m in sources.of_world(ipv4=True, ipv6=True).items()}
    assert dual == {"0.0.0.0/0": 9, "::/0": 10}
    single = {str(p): m.identity for p, m in sources.of_world(ipv4=True, ipv6=False).items()}
    assert single == {"0.0.0.0/0": 2}


def test_node_addresses_are_direct_and_its_router_is_tunnelled() -> None:
    addresses = [
        models.NodeAddress(type="InternalIP", ip="172.30.0.12"),
        models.NodeAddress(type="InternalIP", ip="fd00:30::12"),
        models.NodeAddress(type="CiliumInternalIP", ip="10.0.1.1"),
        models.NodeAddress(type="InternalIP", ip="no address"),
        models.NodeAddress(type="ExternalIP", ip="203.0.113.12"),
        models.NodeAddress(type="Hostname", ip="203.0.113.99"),
    ]
    node = models.CiliumNode(
        metadata=models.ObjectMeta(name="node2"), spec=models.CiliumNodeSpec(addresses=addresses)
    )
    tunnels = {str(p): m.tunnel and str(m.tunnel) for p, m in sources.of_node(node).items()}
    assert tunnels == {
        "172.30.0.12/32": None,
        "fd00:30::12/128": None,
        "10.0.1.1/32": "172.30.0.12",
        "203.0.113.12/32": None,
    }
    assert {said.identity for said in sources.of_node(node).values()} == {6}


def test_an_api_server_on_a_node_is_that_node() -> None:
    item = SliceObject(
        metadata=Meta(name="kubernetes"),
        address_type="IPv4",
        endpoints=[
            SliceEndpoint(addresses=["172.30.0.10"]),
            SliceEndpoint(addresses=["172.30.0.12"]),
        ],
    )
    fold = PrefixFold()
    fold.put("apiserver", sources.of_apiserver(item))
    fold.put("node", sources.of_host([ip_address("172.30.0.12")]))
    found = {str(prefix): metadata.identity for prefix, metadata in fold.rows()}
    assert found == {"172.30.0.10/32": 7, "172.30.0.12/32": 1}
