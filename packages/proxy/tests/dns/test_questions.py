# SPDX-License-Identifier: Apache-2.0
"""What is taken for a question, and the proxy's own replies, held against the library's."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.update
import pytest

from cilium_proxy.dns import questions
from cilium_proxy.dns.questions import NotAQuestion


def ask(name: str, kind: str = "A", **options: int) -> bytes:
    # The id is in tests' names, which have to be the same in each worker.
    return dns.message.make_query(name, kind, id=0x6942, **options).to_wire()


@pytest.mark.parametrize("kind", ["A", "AAAA", "ANY", "HTTPS", "PTR", "TYPE65280"])
def test_name_and_type_are_read(kind: str) -> None:
    question = questions.read(ask("WWW.Example.COM.", kind, use_edns=0, payload=4096))
    assert (question.name, question.qtype_text) == ("www.example.com.", kind)


def test_a_refusal_is_a_reply_to_that_question() -> None:
    query = dns.message.make_query("www.example.com", "AAAA", use_edns=0)
    refusal = dns.message.from_wire(questions.read(query.to_wire()).refusal(dns.rcode.REFUSED))
    assert query.is_response(refusal)
    assert refusal.rcode() == dns.rcode.REFUSED
    assert refusal.flags & dns.flags.RD
    assert refusal.flags & dns.flags.RA


def test_labels_cannot_pretend_to_be_names() -> None:
    name = dns.name.Name([b"good.example", b"evil", b""])
    assert questions.read(ask(name)).name == "good\\.example.evil."


def test_an_update_is_judged_by_its_zone() -> None:
    update = dns.update.UpdateMessage("Corp.Example")
    update.add("host", 60, "A", "192.0.2.1")
    assert questions.read(update.to_wire()).name == "corp.example."


@pytest.mark.parametrize(
    ("wire", "reason", "rcode"),
    [
        (b"", "short", None),
        (ask("a.test")[:11], "short", None),
        (ask("a.test")[:2] + b"\x81" + ask("a.test")[3:], "response", None),
        (ask("a.test")[:-2], "malformed", dns.rcode.FORMERR),
        (ask("a.test")[:5] + b"\0" + ask("a.test")[6:], "not one question", dns.rcode.FORMERR),
        (ask("a.test")[:5] + b"\2" + ask("a.test")[6:], "not one question", dns.rcode.FORMERR),
        (ask("a.test")[:12] + b"\xc0\x0c\0\1\0\1", "malformed", dns.rcode.FORMERR),
        (ask("a.test")[:12] + (b"\x3f" + b"x" * 63) * 5 + bytes(5), "malformed", dns.rcode.FORMERR),
        (ask("a.test", "AXFR"), "transfer", dns.rcode.NOTIMP),
    ],
)
def test_all_else_is_told_so_or_dropped(wire: bytes, reason: str, rcode: int | None) -> None:
    with pytest.raises(NotAQuestion) as caught:
        questions.read(wire)
    assert caught.value.reason == reason
    reply = caught.value.reply
    if rcode is None:
        assert reply is None
    else:
        assert reply is not None
        parsed = dns.message.from_wire(reply)
        assert (parsed.rcode(), parsed.id) == (rcode, int.from_bytes(wire[:2], "big"))
