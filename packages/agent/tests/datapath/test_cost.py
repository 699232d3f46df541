# SPDX-License-Identifier: Apache-2.0
"""Sizes of the programs: bounds where the kernel has them, and figures for CI to show."""

from __future__ import annotations

import os

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from cilium_agent.datapath import syscall

pytestmark = pytest.mark.root

STACK_LIMIT = 512


def nanoseconds(kernel, program: str, frame: bytes) -> int:
    """Mean of many repetitions over a frame that the program leaves as it is."""
    context = bytearray(192)
    context[40:44] = kernel.pod_ifindex.to_bytes(4, "little")
    fd = kernel.programs.open(program)
    try:
        with kernel.namespace.entered():
            return syscall.program_test_run(fd, frame, bytes(context), 100_000).duration_ns
    finally:
        os.close(fd)


def test_stack_has_room_and_every_program_reports(kernel, worlds, costs: list[str]) -> None:
    programs = kernel.programs
    for entry in programs.report:
        assert 0 < entry["stack_bytes"] <= STACK_LIMIT // 2, entry["name"]
        assert entry["jited_bytes"] > 0, "the JIT is off"
        costs.append(
            f"{entry['name']:20} {entry['instructions']:5} instructions"
            f" {entry['stack_bytes']:4} bytes of stack"
        )
    assert {"from_container", "from_overlay", "from_host"} < {e["name"] for e in programs.report}
    costs.append(
        f"compiled in {programs.compile_seconds:.2f} s,"
        f" loader peak {programs.loader_peak_kib // 1024} MiB"
    )
    body = TCP(sport=4000, dport=80) / Raw(b"x" * 64)
    for family, layer in ((4, IP), (6, IPv6)):
        world = worlds[family]
        for program, source, target in (
            ("from_container", "pod", "world"),
            ("from_container", "pod", "remote"),
            ("from_host", "node", "peer"),
        ):
            frame = Ether(dst="02:00:00:00:00:fe") / layer(src=world[source], dst=world[target])
            cost = nanoseconds(kernel, program, bytes(frame / body))
            assert cost > 0
            costs.append(f"{program:20} {source} to {target}, IPv{family}: {cost} ns/packet")
