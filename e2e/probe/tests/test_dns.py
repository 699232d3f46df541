# SPDX-License-Identifier: Apache-2.0
"""DNS on the wire: known bytes, and cut-off packets."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.probe import dns


def _response(ident: int, rcode: int, *records: tuple[int, bytes]) -> bytes:
    question = dns.question(ident, "web.example", dns.A)[12:]
    head = struct.pack("!HHHHHH", ident, 0x8180 | rcode, 1, len(records), 0, 0)
    body = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 5, len(data)) + data for kind, data in records
    )
    return head + question + body


def test_question_bytes() -> None:
    assert dns.question(7, "a.bc", dns.AAAA) == (
        b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01"
    )


def test_answer_keeps_addresses_and_skips_other_records() -> None:
    packet = _response(
        9, 0, (5, b"\x01x\x00"), (1, bytes([10, 0, 0, 7])), (28, b"\xfd" + b"\0" * 15)
    )
    assert dns.answer(packet) == dns.Answer(9, 0, ("10.0.0.7", "fd00::"))
    assert dns.answer(_response(9, 3)).rcode == 3


@given(st.integers(0, 40))
def test_cut_off_is_a_value_error(length: int) -> None:
    packet = _response(9, 0, (1, bytes([10, 0, 0, 7])))
    with pytest.raises(ValueError, match="cut off|address|permitted"):
        dns.answer(packet[: min(length, len(packet) - 1)])


def test_a_question_is_no_answer() -> None:
    with pytest.raises(ValueError, match="question"):
        dns.answer(dns.question(1, "a", dns.A))


def test_nameserver(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search x\nnameserver 10.96.0.10\nnameserver 1.1.1.1\n")
    assert dns.nameserver(path) == "10.96.0.10"
