# SPDX-License-Identifier: Apache-2.0
"""What an answer is taken to say: chains of aliases, TTLs, what does not belong, what is broken."""

from __future__ import annotations

import time
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from cilium_proxy.dns import answers, questions
from cilium_proxy.dns.questions import Question

QUERY = dns.message.make_query("www.example.com", "A", use_edns=0)
QUESTION = questions.read(QUERY.to_wire())


def reply(*sets: str, query: dns.message.Message = QUERY, rcode: int = 0) -> bytes:
    """Return an answer; each set is `name ttl type data`."""
    made = dns.message.make_response(query)
    made.set_rcode(dns.rcode.Rcode(rcode))
    for text in sets:
        name, ttl, kind, data = text.split(maxsplit=3)
        made.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    return made.to_wire()


def read(*sets: str) -> answers.Answer:
    return answers.read(QUESTION, reply(*sets))


def test_addresses_with_the_smallest_ttl_of_their_way() -> None:
    found = read(
        "www.example.com. 300 CNAME Edge.CDN.example.",
        "edge.cdn.example. 20 CNAME pop7.cdn.example.",
        "pop7.cdn.example. 60 A 192.0.2.7",
        "POP7.cdn.example. 50 AAAA 2001:db8::7",
    )
    assert found.addresses == (ip_address("192.0.2.7"), ip_address("2001:db8::7"))
    assert found.cnames == ("edge.cdn.example.", "pop7.cdn.example.")
    assert found.rrtypes == ("CNAME", "A", "AAAA")
    assert (found.ttl, found.rcode, found.whole) == (20, 0, True)


def test_order_does_not_matter() -> None:
    found = read(
        "b.example. 60 A 192.0.2.7", "a.example. 60 CNAME b.example.",
        "www.example.com. 60 CNAME a.example.",
    )  # fmt: skip
    assert found.addresses == (ip_address("192.0.2.7"),)


def test_addresses_of_other_names_open_nothing() -> None:
    found = read("www.example.com. 60 A 192.0.2.7", "bank.example. 60 A 192.0.2.66")
    assert found.addresses == (ip_address("192.0.2.7"),)


def test_aliases_in_a_ring_end() -> None:
    found = read("www.example.com. 60 CNAME b.example.", "b.example. 60 CNAME www.example.com.")
    assert found.addresses == ()
    assert len(found.cnames) == 2


def test_a_negative_answer() -> None:
    assert answers.read(QUESTION, reply(rcode=3)) == answers.Answer(3)


def test_what_comes_after_a_broken_record_is_not_read_and_what_came_before_is() -> None:
    good = reply("www.example.com. 60 A 192.0.2.7", "www.example.com. 60 TXT text")
    cut = answers.read(QUESTION, good[:-14])
    assert cut.addresses == (ip_address("192.0.2.7"),)
    assert not cut.whole


def test_records_that_nobody_knows_are_passed_over() -> None:
    found = read("www.example.com. 60 TYPE65280 \\# 3 010203", "www.example.com. 60 A 192.0.2.7")
    assert found.addresses == (ip_address("192.0.2.7"),)
    assert found.rrtypes == ("TYPE65280", "A")


def belongs(wire: bytes, number: int | None = None, question: Question = QUESTION) -> bool:
    return answers.belongs(question, QUERY.id if number is None else number, wire)


def test_an_answer_belongs_by_id_question_and_kind() -> None:
    good = reply("www.example.com. 60 A 192.0.2.7")
    assert belongs(good)
    assert belongs(good[:12] + good[12:28].upper() + good[28:])
    assert not belongs(good, QUERY.id ^ 1)
    assert not belongs(QUERY.to_wire())
    assert not belongs(good[:2] + bytes([good[2] | 0x20]) + good[3:])  # another opcode
    assert not belongs(b"")
    assert not belongs(good[:20])
    for name, kind in (("www.example.org", "A"), ("www.example.com", "AAAA"), ("x", "A")):
        query = dns.message.make_query(name, kind, id=QUERY.id)
        assert not belongs(reply(query=query))


def test_an_error_may_leave_the_question_out_and_success_may_not() -> None:
    bare = reply(rcode=1)[:4] + bytes(8)
    assert belongs(bare)
    assert not belongs(bare[:3] + b"\x80" + bare[4:])
    assert answers.read(QUESTION, bare).rcode == 1


def test_a_full_message_of_addresses_is_read_whole() -> None:
    head = reply()[: QUESTION.end]
    records = b"".join(
        b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + number.to_bytes(4, "big") for number in range(1, 4001)
    )
    wire = head[:6] + (4000).to_bytes(2, "big") + bytes(4) + head[12:] + records
    found = answers.read(QUESTION, wire)
    assert found.whole
    assert len(found.addresses) == 4000


@pytest.mark.parametrize("step", [2, 4, 64])
def test_names_with_shared_tails_are_bounded_work(step: int) -> None:
    """A record of 16 KiB of labels, and thousands of records whose names run through them."""
    label = bytes([step - 1]) + b"x" * (step - 1)
    tail = label * (0x3F00 // step) + b"\0"
    opaque = b"\xc0\x0c\xff\0\0\1\0\0\0\0" + len(tail).to_bytes(2, "big") + tail
    start = QUESTION.end + 12
    one = bytes([0xC0 | start >> 8, start & 0xFF]) + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    many = b"".join(b"\1a" + one for _ in range((65535 - start - len(tail)) // (len(one) + 2)))
    head = reply()[: QUESTION.end]
    wire = head[:6] + b"\xff\xff" + bytes(4) + head[12:] + opaque + many
    began = time.process_time()
    assert not answers.read(QUESTION, wire).whole
    assert time.process_time() - began < 0.5


def test_flags_of_truncation_come_through() -> None:
    made = dns.message.make_response(QUERY)
    made.flags |= dns.flags.TC
    assert belongs(made.to_wire())
    assert answers.read(QUESTION, made.to_wire()).whole
