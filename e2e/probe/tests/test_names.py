# SPDX-License-Identifier: Apache-2.0
"""The DNS server of changing names, and lookups against it on loopback."""

from __future__ import annotations

import itertools

from e2e.probe import dns, names


def test_names_say_their_address_or_get_the_next() -> None:
    following = itertools.count(0xC0000201)
    said = [
        dns.answer(names.reply(dns.question(7, f"{label}.names.test", kind), following, 60))
        for label, kind in (
            ("198-51-100-7", dns.A),
            ("next", dns.A),
            ("next9", dns.A),
            ("other", dns.A),
            ("next", dns.AAAA),
        )
    ]
    assert [answer.addresses for answer in said] == [
        ("198.51.100.7",),
        ("192.0.2.1",),
        ("192.0.2.2",),
        (),
        (),
    ]
    assert {answer.ident for answer in said} == {7}
