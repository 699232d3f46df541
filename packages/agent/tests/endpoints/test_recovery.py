# SPDX-License-Identifier: Apache-2.0
"""Endpoints made of links and map rows alone."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.endpoints.alias import alias_of
from cilium_agent.endpoints.links import HostLink, PodEnd
from cilium_agent.endpoints.recovery import from_map, from_pod, numbered
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointFlag, EndpointInfo, EndpointKey

WEB = Endpoint(
    endpoint_id=7,
    container_id="",
    interface="eth0",
    netns="/var/run/netns/x",
    pod_namespace="default",
    pod_name="web",
    pod_uid="u1",
    ipv4=IPv4Address("10.0.0.7"),
    ipv6=IPv6Address("fd00::7"),
    host_interface="lxc0123456789ab",
    host_ifindex=12,
    mac=bytes.fromhex("020000000001"),
    node_mac=bytes.fromhex("020000000002"),
    identity=1234,
    state=EndpointState.READY,
)
LINK = HostLink(WEB.host_interface, WEB.host_ifindex, WEB.node_mac, alias_of(WEB))
INFO = EndpointInfo(
    bytes(16), WEB.host_ifindex, WEB.identity, WEB.endpoint_id, 0, WEB.mac, WEB.node_mac
)
V4, V6 = (EndpointKey(pack_address(a)) for a in (WEB.ipv4, WEB.ipv6))


def test_link_and_map_make_the_endpoint() -> None:
    assert from_map([LINK], {V4: INFO, V6: INFO}) == [WEB]
    assert from_map([LINK], {V6: INFO}) == [replace(WEB, ipv4=None)]


def test_a_device_in_the_map_is_ours_whatever_its_alias_says() -> None:
    (found,) = from_map([replace(LINK, alias="")], {V4: INFO, V6: INFO})
    unknown = {"interface": "", "netns": "", "pod_namespace": "", "pod_name": "", "pod_uid": ""}
    assert found == replace(WEB, **unknown)


def test_rows_of_other_devices_and_of_the_node_make_none() -> None:
    assert from_map([LINK], {V4: replace(INFO, ifindex=13)}) == []
    assert from_map([LINK], {V4: replace(INFO, node_mac=bytes(6))}) == []  # its index was reused
    assert from_map([LINK], {V4: replace(INFO, flags=int(EndpointFlag.HOST))}) == []


def test_link_and_pod_make_all_but_number_and_identity() -> None:
    end = PodEnd(WEB.mac, (WEB.ipv4, WEB.ipv6))
    assert from_pod(LINK, end) == replace(WEB, endpoint_id=0, identity=0)


@given(st.lists(st.integers(0, 6), max_size=6), st.sets(st.integers(1, 6)))
def test_numbers_are_unique_and_kept_where_they_can_be(numbers: list[int], taken: set[int]) -> None:
    rebuilt = [replace(WEB, endpoint_id=n, host_ifindex=i) for i, n in enumerate(numbers)]
    given_out = {e.host_ifindex: e.endpoint_id for e in numbered(rebuilt, taken)}
    assert set(given_out) == set(range(len(numbers)))
    assert len(set(given_out.values()) | taken) == len(numbers) + len(taken)
    assert 0 not in given_out.values()
    assert (set(numbers) - taken - {0}) <= set(given_out.values())
