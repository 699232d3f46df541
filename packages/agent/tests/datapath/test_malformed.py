# SPDX-License-Identifier: Apache-2.0
"""Frames that lie or stop short: each is dropped with its reason by every entry program."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from cilium_agent.datapath.attach import Attachments

pytestmark = pytest.mark.root

SHOT = 2
PROGRAMS = {"from_container": 2, "from_overlay": 1, "from_host": 2}
FOUR = {"src": "10.0.0.10", "dst": "10.0.0.11"}
SIX = {"src": "fd00::10", "dst": "fd00::11"}


def frame(*layers: Packet) -> bytes:
    whole = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:fe")
    for layer in layers:
        whole /= layer
    return bytes(whole)


def chain(count: int) -> bytes:
    options = [IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) for _ in range(count)]
    return frame(IPv6(**SIX), *options, UDP(), Raw(b"x"))


V4 = frame(IP(**FOUR), TCP(), Raw(b"x" * 20))
V6 = frame(IPv6(**SIX), TCP(), Raw(b"x" * 20))
CASES: dict[str, tuple[bytes, int]] = {
    "v4 version 5": (V4[:14] + b"\x55" + V4[15:], 134),
    "v4 ihl 4": (V4[:14] + b"\x44" + V4[15:], 134),
    "v4 ihl 0": (V4[:14] + b"\x40" + V4[15:], 134),
    "v4 ihl beyond the frame": (V4[:14] + b"\x4f" + V4[15:40], 134),
    "v4 length zero": (V4[:16] + b"\0\0" + V4[18:], 134),
    "v4 length below header": (V4[:16] + b"\0\x13" + V4[18:], 134),
    "v4 length above frame": (V4[:16] + b"\xff\xff" + V4[18:], 134),
    "v4 tcp header cut": (frame(IP(**FOUR, proto=6), Raw(b"x" * 12)), 135),
    "v4 udp header cut": (frame(IP(**FOUR, proto=17), Raw(b"x" * 7)), 135),
    "v4 tcp header absent": (frame(IP(**FOUR, proto=6)), 135),
    "v4 sctp header cut": (frame(IP(**FOUR, proto=132), Raw(b"x" * 11)), 135),
    "v4 icmp header cut": (frame(IP(**FOUR, proto=1), Raw(b"\x08" + b"x" * 6)), 135),
    "v4 tcp header in the padding": (
        frame(IP(**FOUR, proto=6, len=32, chksum=0), Raw(b"x" * 40)),
        135,
    ),
    "v4 first piece without its header": (
        frame(IP(**FOUR, proto=6, flags="MF"), Raw(b"x" * 16)),
        135,
    ),
    "v6 version 4": (V6[:14] + b"\x45" + V6[15:], 134),
    "v6 payload above frame": (V6[:18] + b"\x40\0" + V6[20:], 134),
    "v6 tcp header cut": (frame(IPv6(**SIX, nh=6), Raw(b"x" * 12)), 135),
    "v6 tcp header in the padding": (frame(IPv6(**SIX, nh=6, plen=12), Raw(b"x" * 40)), 135),
    "v6 icmp header cut": (frame(IPv6(**SIX, nh=58), Raw(b"\x80" + b"x" * 6)), 135),
    "v6 first piece without its header": (
        frame(IPv6(**SIX), IPv6ExtHdrFragment(nh=6, m=1), Raw(b"x" * 16)),
        135,
    ),
    "v6 two fragment headers": (
        frame(IPv6(**SIX), IPv6ExtHdrFragment(m=1), IPv6ExtHdrFragment(m=1), UDP()),
        156,
    ),
    "v6 mapped source": (frame(IPv6(src="::ffff:10.0.0.10", dst=SIX["dst"]), UDP()), 134),
    "v6 mapped target": (frame(IPv6(src=SIX["src"], dst="::ffff:10.0.0.11"), UDP()), 134),
    "v6 extension absent": (frame(IPv6(**SIX, nh=0)), 156),
    "v6 extension longer than frame": (frame(IPv6(**SIX, nh=60), Raw(b"\x11\xff" + b"x" * 6)), 156),
    "v6 too many extensions": (chain(7), 156),
}

# BPF_PROG_TEST_RUN itself refuses these, so they go over a real device.
SHORT = {
    "nothing behind ethernet": 15,
    "half a header": 24,
    "v4 header one byte short": 33,
    "v6 header one byte short": 53,
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", SHORT)
def test_short_frames_on_a_device(kernel, bpffs, program: str, name: str) -> None:
    """Sent by a packet socket: into the device's peer (ingress) or out of the device (egress)."""
    attachments = Attachments(kernel.programs, bpffs / "short")
    device = kernel.pod_ifindex
    hooks = {
        "from_container": (attachments.attach_container, attachments.detach_container, "pod-peer"),
        "from_overlay": (attachments.attach_overlay, attachments.detach_overlay, "pod-peer"),
        "from_host": (attachments.attach_host, attachments.detach_host, "pod"),
    }
    attach, detach, sender = hooks[program]
    data = V6[: SHORT[name]] if name.startswith("v6") else V4[: SHORT[name]]
    key = (134, PROGRAMS[program])
    with kernel.namespace.entered():
        attach(device)
        before = kernel.counts().get(key, 0)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((sender, 0))
            refused = pytest.raises(OSError, match="buffer space")  # how egress says: dropped
            with refused if program == "from_host" else nullcontext():
                raw.send(data)
        deadline = time.monotonic() + 2
        while kernel.counts().get(key, 0) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        detach(device)
    assert kernel.counts().get(key, 0) == before + 1


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", CASES)
def test_dropped_with_its_reason(kernel, program: str, name: str) -> None:
    data, reason = CASES[name]
    outcome = kernel.run(program, data)
    assert outcome.verdict == SHOT
    assert outcome.reasons == {(reason, PROGRAMS[program])}


def test_as_many_extensions_as_the_parser_takes(kernel) -> None:
    hop = frame(
        IPv6(**SIX), IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]), UDP(), Raw(b"x")
    )
    for data in (hop, chain(6)):
        assert kernel.run("from_container", data).verdict == 7


@pytest.mark.parametrize(
    "damage",
    [
        lambda rng, data: data[: rng.randrange(54, len(data))],
        lambda rng, data: bytes(b ^ (rng.random() < 0.05) * rng.randrange(256) for b in data),
        lambda rng, data: data[:14] + rng.randbytes(len(data) - 14),
    ],
    ids=["cut", "flipped", "noise"],
)
def test_damage_never_leaks_past_the_source_check(
    kernel, damage: Callable[[random.Random, bytes], bytes]
) -> None:
    """Whatever arrives, a frame is only let through with a source that is this device's."""
    rng = random.Random(5)
    allowed = {bytes([10, 0, 0, 10]), bytes.fromhex("fd000000000000000000000000000010")}
    for _ in range(300):
        data = damage(rng, rng.choice((V4, V6, chain(2))))
        data = data[:12] + rng.choice((b"\x08\x00", b"\x86\xdd")) + data[14:]
        outcome = kernel.run("from_container", data)
        if outcome.verdict == SHOT or (0, 2) not in outcome.reasons:
            continue  # dropped, or link control that stays on the link
        source = data[26:30] if data[12:14] == b"\x08\x00" else data[22:38]
        assert source in allowed
