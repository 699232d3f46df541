# SPDX-License-Identifier: Apache-2.0
"""The checksum of datagrams, against RFC 1071 written down plainly."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import example, given

from cilium_proxy.dns.sockets import checksum


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff\xff")
@example(b"\xff" * 65535)
def test_checksum(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert int.from_bytes(checksum(data), "big") == ((~total & 0xFFFF) or 0xFFFF)
