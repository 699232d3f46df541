# SPDX-License-Identifier: Apache-2.0
"""Sizes of the programs: bounds where the kernel has them, and figures for CI to show."""

from __future__ import annotations

import os

import pytest
from datapath_packets import frame, icmp_of, tcp

from cilium_agent.datapath import syscall
from cilium_agent.datapath.reporting import report_events
from cilium_agent.loader.__main__ import ENTRIES, STAGES
from cilium_core.addresses import pack_address
from cilium_core.layouts.policy import ConnectionInfo
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

STACK_LIMIT = 512
VERIFIER_LIMIT = 1_000_000  # instructions that the verifier walks before it gives up


HOPS = 255  # a packet to a pod loses one each time: a run ends before they are used up


def nanoseconds(kernel, program: str, frame: bytes, ifindex: int, repeat: int = 20_000) -> int:
    """The best of some runs' means over a frame."""
    context = bytearray(192)
    context[40:44] = ifindex.to_bytes(4, "little")
    fd = kernel.programs.open(program)
    try:
        with kernel.namespace.entered():
            return min(
                syscall.program_test_run(fd, frame, bytes(context), repeat).duration_ns
                for _ in range(100_000 // repeat)
            )
    finally:
        os.close(fd)


def test_stack_has_room_and_every_program_reports(kernel, costs: list[str]) -> None:
    programs = kernel.programs
    for entry in programs.report:
        assert 0 < entry["stack_bytes"] <= STACK_LIMIT // 2, entry["name"]
        assert entry["jited_bytes"] > 0, "the JIT is off"
        assert entry["verified"] <= VERIFIER_LIMIT // 5, entry["name"]
        costs.append(
            f"{entry['name']:20} {entry['instructions']:5} instructions"
            f" {entry['verified']:6} verified {entry['stack_bytes']:4} bytes of stack"
        )
    assert {*STAGES, *ENTRIES} < {entry["name"] for entry in programs.report}
    costs.append(
        f"compiled in {programs.compile_seconds:.2f} s,"
        f" loader peak {programs.loader_peak_kib // 1024} MiB"
    )


def test_known_connections(kernel, worlds, costs: list[str]) -> None:
    """Through both policies, both of them enforced, with events on."""
    for endpoint in (7, 8):
        kernel.enforce(endpoint, 1)
    kernel.rows({RowKey(1, direction): Row(any_allow=True) for direction in Direction})
    for family, hops in ((4, "ttl"), (6, "hlim")):
        world = worlds[family]
        for program, source, target in (
            ("from_container", "pod", "peer"),
            ("from_container", "peer", "pod"),  # the answers
            ("from_container", "pod", "world"),
            ("from_container", "pod", "remote"),
            ("from_host", "node", "peer"),
        ):
            ports = (80, 4000) if source == "peer" else (4000, 80)
            body = tcp(*ports, "A", b"x" * 64)
            packet = frame(family, world[source], world[target], body, **{hops: HOPS})
            ifindex = kernel.peer_ifindex if source == "peer" else kernel.pod_ifindex
            repeat = HOPS - 5 if target in ("pod", "peer") else 20_000
            cost = nanoseconds(kernel, program, packet, ifindex, repeat)
            assert cost > 0
            costs.append(f"known, {source} to {target}, IPv{family}: {cost} ns/packet")
        states = {(info.tx_packets > 1, info.rx_packets > 1) for info in _of(kernel, world)}
        assert states == {(True, True)}, "forward and answer were of one connection"


def _of(kernel, world: dict[str, str]) -> list[ConnectionInfo]:
    pair = {pack_address(world["pod"]), pack_address(world["peer"])}
    return [info for key, info in kernel.connections().items() if {key.local, key.peer} == pair]


def test_judged_packets_by_number_of_rows(kernel, worlds, costs: list[str]) -> None:
    """Messages that open nothing are judged each time."""
    packet = frame(4, worlds[4]["pod"], worlds[4]["world"], icmp_of(4, 13), proto=1)
    kernel.enforce(7, 1)
    kernel.bits({(2, 0): 1})
    report_events(kernel.store, ())
    allowed = Row(cells=(Cell(0, 1, 0, 0),))
    for count in (10, 10_000):
        rows = {
            RowKey(1 + n // 100, Direction.EGRESS, 6, n % 100 * 641 % 65536, 16): allowed
            for n in range(count)
        }
        kernel.rows({**rows, RowKey(1, Direction.EGRESS): allowed})
        cost = nanoseconds(kernel, "from_container", packet, kernel.pod_ifindex)
        costs.append(f"judged, {count} rows: {cost} ns/packet")
    assert (0, 2) in kernel.run("from_container", packet).reasons
