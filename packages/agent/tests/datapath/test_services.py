# SPDX-License-Identifier: Apache-2.0
"""Per-packet service translation: forward, the answer's way back, checksums, and what refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
    TranslationFlag,
)

pytestmark = pytest.mark.root

OK, SHOT, REDIRECT = 0, 2, 7
TRANSPORTS = {"tcp": (TCP, 6), "udp": (UDP, 17)}


def build(family: int, source: str, target: str, transport: type[Packet], ports: tuple[int, int]):
    layer = IP(src=source, dst=target) if family == 4 else IPv6(src=source, dst=target)
    body = transport(sport=ports[0], dport=ports[1]) / Raw(b"0123456789")
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:fe") / layer / body


def addresses(frame: bytes) -> tuple[str, str, int, int]:
    """Return (source, target, sport, dport), having checked every checksum in the frame."""
    parsed = Ether(frame)
    raw = bytes(parsed)
    network = parsed[IP] if IP in parsed else parsed[IPv6]
    transport = parsed[TCP] if TCP in parsed else parsed[UDP]
    if IP in parsed:
        del network.chksum
    if not (UDP in parsed and transport.chksum == 0):
        del transport.chksum
    assert bytes(parsed) == raw, "a checksum is wrong"
    return network.src, network.dst, transport.sport, transport.dport


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_there_and_back_on_one_node(kernel, worlds, family: int, transport: str) -> None:
    world, (layer, proto) = worlds[family], TRANSPORTS[transport]
    kernel.service(world["vip"], 53, proto, [(world["peer"], 5353)])
    request = bytes(build(family, world["pod"], world["vip"], layer, (4000, 53)))
    outcome = kernel.run("from_container", request)
    assert outcome.verdict == REDIRECT
    assert addresses(outcome.frame) == (world["pod"], world["peer"], 4000, 5353)
    assert Ether(outcome.frame).dst == "02:00:00:00:00:02"
    held = dict(kernel.store.translations.items())
    assert {info.flags for info in held.values()} == {0, int(TranslationFlag.SOURCE)}
    answer = bytes(build(family, world["peer"], world["pod"], layer, (5353, 4000)))
    back = kernel.run("from_container", answer, ifindex=kernel.peer_ifindex)
    assert back.verdict == REDIRECT
    assert addresses(back.frame) == (world["vip"], world["pod"], 53, 4000)


@pytest.mark.parametrize("family", [4, 6])
def test_answer_through_the_stack(kernel, worlds, family: int) -> None:
    """A backend outside the pods (a node's own process) answers by cilium_host."""
    world = worlds[family]
    kernel.service(world["vip"], 443, 6, [(world["world"], 6443)])
    request = bytes(build(family, world["pod"], world["vip"], TCP, (4000, 443)))
    outcome = kernel.run("from_container", request)
    assert outcome.verdict == OK
    assert addresses(outcome.frame) == (world["pod"], world["world"], 4000, 6443)
    answer = bytes(build(family, world["world"], world["pod"], TCP, (6443, 4000)))
    assert addresses(kernel.run("from_host", answer).frame)[0] == world["vip"]


@pytest.mark.parametrize("family", [4, 6])
def test_backend_on_another_node(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.service(world["vip"], 80, 6, [(world["remote"], 8080)])
    request = bytes(build(family, world["pod"], world["vip"], TCP, (4000, 80)))
    outcome = kernel.run("from_container", request)
    assert outcome.verdict == REDIRECT
    assert addresses(outcome.frame)[1] == world["remote"]


def test_an_absent_udp_checksum_stays_absent(kernel, worlds) -> None:
    world = worlds[4]
    kernel.service(world["vip"], 53, 17, [(world["peer"], 5353)])
    frame = build(4, world["pod"], world["vip"], UDP, (4000, 53))
    frame[UDP].chksum = 0
    outcome = kernel.run("from_container", bytes(frame))
    assert addresses(outcome.frame)[1] == world["peer"]
    assert Ether(outcome.frame)[UDP].chksum == 0


@pytest.mark.parametrize("family", [4, 6])
def test_a_flow_keeps_its_backend_until_that_leaves(kernel, worlds, family: int) -> None:
    world = worlds[family]
    backends = [(world["peer"], port) for port in range(5000, 5008)]
    kernel.service(world["vip"], 53, 17, backends)
    request = bytes(build(family, world["pod"], world["vip"], UDP, (4000, 53)))
    ports = {addresses(kernel.run("from_container", request).frame)[3] for _ in range(20)}
    assert len(ports) == 1
    chosen = BackendKey(530 + ports.pop() - 5000)
    row = kernel.store.backends.current[chosen]
    kernel.store.backends.delete([chosen])
    slot = SlotKey(53, 0)
    kernel.store.slots.upsert({slot: SlotInfo(900, 53)})
    fresh = BackendInfo(pack_address(world["peer"]), 6000, 17, backend_id=900)
    kernel.store.backends.upsert({BackendKey(900): fresh})
    service = ServiceKey(pack_address(world["vip"]), 53, 17)
    kernel.store.services.upsert({service: ServiceInfo(53, 1)})
    assert addresses(kernel.run("from_container", request).frame)[3] == 6000
    # the old number comes back for another backend: the flow on the new one is not moved
    kernel.store.backends.upsert({chosen: replace(row, port=7000)})
    assert addresses(kernel.run("from_container", request).frame)[3] == 6000


@pytest.mark.parametrize("family", [4, 6])
def test_a_number_given_to_another_backend_is_not_believed(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.service(world["vip"], 53, 17, [(world["peer"], 5000)])
    request = bytes(build(family, world["pod"], world["vip"], UDP, (4000, 53)))
    assert addresses(kernel.run("from_container", request).frame)[3] == 5000
    kernel.service(world["vip"], 53, 17, [(world["peer"], 6000)])  # same numbers
    assert addresses(kernel.run("from_container", request).frame)[3] == 6000


@pytest.mark.parametrize("family", [4, 6])
def test_flows_spread_over_all_backends(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.service(world["vip"], 53, 17, [(world["peer"], port) for port in range(5000, 5004)])
    seen = set()
    for sport in range(4000, 4100):
        request = bytes(build(family, world["pod"], world["vip"], UDP, (sport, 53)))
        seen.add(addresses(kernel.run("from_container", request).frame)[3])
    assert seen == set(range(5000, 5004))


@pytest.mark.parametrize("family", [4, 6])
def test_what_has_no_backend_is_refused(kernel, worlds, family: int) -> None:
    world, other = worlds[family], worlds[10 - family]
    kernel.service(world["vip"], 1, 6, [])
    kernel.service(world["vip"], 2, 6, [(other["peer"], 80)])  # of the other family
    kernel.service(world["vip"], 3, 6, [(world["peer"], 80)])
    kernel.store.backends.delete([BackendKey(30)])
    for port in (1, 2, 3):
        request = bytes(build(family, world["pod"], world["vip"], TCP, (4000, port)))
        outcome = kernel.run("from_container", request)
        assert (outcome.verdict, outcome.reasons) == (SHOT, {(158, 2)}), port
    assert not list(kernel.store.translations.items())


@pytest.mark.parametrize("family", [4, 6])
def test_another_port_or_protocol_is_not_the_service(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.service(world["vip"], 53, 17, [(world["peer"], 5353)])
    for layer, port in ((UDP, 54), (TCP, 53)):
        request = bytes(build(family, world["pod"], world["vip"], layer, (4000, port)))
        outcome = kernel.run("from_container", request)
        assert (outcome.verdict, outcome.frame) == (OK, request)


def test_a_pods_address_is_no_frontend(kernel, worlds) -> None:
    world = worlds[4]
    kernel.service(world["peer"], 80, 6, [(world["remote"], 81)])
    request = bytes(build(4, world["pod"], world["peer"], TCP, (4000, 80)))
    assert addresses(kernel.run("from_container", request).frame)[3] == 80
    assert pack_address(world["peer"])
