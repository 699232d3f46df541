# SPDX-License-Identifier: Apache-2.0
"""Which rules decided: direction, ports, bits, deny, and the revision of then."""

from __future__ import annotations

import pytest

from cilium_hubble.state.model import Origin
from cilium_hubble.state.rules import Decision, Ports, Rule, RuleBook

OLD, NEW, DENY, OPEN = (Origin("CiliumNetworkPolicy", "ns", name) for name in "abcd")
WEB = Decision(3, 5, direction=1, protocol=6, port=80, word=1, bits=0b100, deny=False)
PORTS = (Ports(6, 80, 90),)


@pytest.fixture
def book() -> RuleBook:
    made = RuleBook()
    rule = Rule(1, False, PORTS, ((1, 0b110),), OLD)
    made.put(3, 5, (rule, rule._replace(deny=True, origin=DENY), Rule(2, False, (), None, OPEN)))
    made.put(3, 9, (rule._replace(origin=NEW),))
    return made


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, (OLD,)),
        ({"revision": 8}, (OLD,)),
        ({"revision": 9}, (NEW,)),
        ({"revision": 4}, ()),
        ({"policy": 4}, ()),
        ({"deny": True}, (DENY,)),
        ({"port": 90}, (OLD,)),
        ({"port": 91}, ()),
        ({"protocol": 17}, ()),
        ({"word": 2}, ()),
        ({"bits": 0b1001}, ()),
        ({"bits": 0b1010}, (OLD,)),
        ({"direction": 2, "protocol": 99, "port": 1, "word": 0, "bits": 0}, (OPEN,)),
    ],
)
def test_deciders(book: RuleBook, change: dict[str, int], names: tuple[Origin, ...]) -> None:
    assert book.deciders(WEB._replace(**change)) == names


def test_ports_of_any_protocol() -> None:
    book = RuleBook()
    book.put(1, 1, (Rule(1, False, (Ports(0, 0, 65535),), None, OLD),))
    assert book.deciders(WEB._replace(policy=1, protocol=132)) == (OLD,)


def test_entries_can_be_replaced_and_removed(book: RuleBook) -> None:
    version = book.version
    book.remove(3, 9)
    book.remove(3, 77)
    assert book.deciders(WEB._replace(revision=9)) == (OLD,)
    book.put(3, 5, ())
    assert book.deciders(WEB) == ()
    book.remove(3, 5)
    assert book.deciders(WEB) == ()
    assert book.version == version + 3
