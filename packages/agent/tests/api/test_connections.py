# SPDX-License-Identifier: Apache-2.0
"""Connections as text."""

from __future__ import annotations

import pytest

from cilium_agent.api.connections import connection_text, protocol_text, state_text
from cilium_core.addresses import pack_address
from cilium_core.layouts.policy import ConnectionFlag, ConnectionInfo, ConnectionKey


@pytest.mark.parametrize(
    ("local", "peer", "ports", "proto", "direction", "text"),
    [
        ("10.0.0.1", "10.0.1.2", (4000, 80), 6, 2, "TCP OUT 10.0.0.1:4000 -> 10.0.1.2:80"),
        ("10.0.0.1", "10.0.1.2", (80, 4000), 6, 1, "TCP IN 10.0.1.2:4000 -> 10.0.0.1:80"),
        ("fd00::1", "fd00::2", (7, 7), 58, 2, "ICMPv6 OUT [fd00::1]:7 -> [fd00::2]:7"),
        ("10.0.0.1", "10.0.1.2", (0, 0), 47, 1, "47 IN 10.0.1.2:0 -> 10.0.0.1:0"),
    ],
)
def test_the_opener_comes_first(
    local: str, peer: str, ports: tuple[int, int], proto: int, direction: int, text: str
) -> None:
    key = ConnectionKey(pack_address(local), pack_address(peer), *ports, proto, direction)
    assert connection_text(key) == text


def test_state() -> None:
    flags = int(ConnectionFlag.SEEN_NON_SYN | ConnectionFlag.DENIED)
    info = ConnectionInfo(500, flags, 0, 1002, 3, 5, 300, 4, 200, 440, 441, 0x1B, 0x12, 0, 7)
    assert state_text(info) == (
        "expires=500 RxPackets=4 RxBytes=200 RxFlagsSeen=0x12 LastRxReport=441 "
        "TxPackets=5 TxBytes=300 TxFlagsSeen=0x1b LastTxReport=440 "
        "Flags=0x0011 [ TxClosing SeenNonSyn PolicyDenied ] "
        "RevNAT=7 PeerSecurityID=1002 Revision=3"
    )
    idle = ConnectionInfo(9, 0, 0, 2, 0, 1, 50, 0, 0, 0, 0, 0, 0)
    assert "Flags=0x0000 [ ] RevNAT=0 PeerSecurityID=2" in state_text(idle)


def test_protocols() -> None:
    names = [protocol_text(number) for number in (0, 1, 6, 17, 58, 132, 255)]
    assert names == ["ANY", "ICMP", "TCP", "UDP", "ICMPv6", "SCTP", "255"]
