# SPDX-License-Identifier: Apache-2.0
"""The memory of DNS in the words of its users: TTLs, connections, crowds, restarts."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from cilium_core.errors import FieldError
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.limits import Limits
from cilium_core.fqdn.saved import Forgotten, Learned, Numbered, gone, line, replay, state

ONE, TWO, THREE = (ip_address(f"198.51.100.{n}") for n in (1, 2, 3))


def cache(*selectors: str, **limits: float) -> NameCache:
    made = NameCache(Limits(**limits))  # type: ignore[arg-type]
    made.select(selectors)
    return made


def test_an_answer_opens_its_addresses_to_the_selectors_of_its_name() -> None:
    names = cache("*.example.com", "other.net")
    assert names.learn(0, 7, "WWW.example.com.", [ONE, TWO], 30) == {ONE, TWO}
    assert names.selection.selectors_of(ONE) == {"*.example.com"}
    assert names.learn(1, 8, "www.example.com", [ONE], 30) == set()  # nothing new to carry
    assert names.learn(1, 8, "unasked.org", [THREE], 30) == set()
    assert names.selection.asks_for("api.example.com") == {"*.example.com"}


def test_a_policy_that_comes_later_finds_what_was_answered_before() -> None:
    names = cache()
    names.learn(0, 7, "late.example.com.", [ONE], 30)
    assert names.select(["late.example.com"]) == {ONE}


def test_an_address_outlives_its_ttl_for_as_long_as_a_connection_is_met() -> None:
    names = cache("db.example.com")
    names.learn(0, 7, "db.example.com", [ONE], 10)
    assert names.end(9.9) == set()
    assert names.end(10) == set()  # over, but nobody has looked at the connections yet
    assert names.walked(9, 12, {}) == set()  # began before the end: says nothing
    assert names.walked(20, 21, {7: [ONE]}) == set()
    assert names.walked(30, 31, {8: [ONE]}) == {ONE}  # another endpoint's connection
    assert names.selection.selectors_of(ONE) == set()


def test_shared_addresses_stay_with_the_name_that_still_has_them() -> None:
    names = cache("a.cdn.net", "b.cdn.net")
    names.learn(0, 7, "a.cdn.net", [ONE], 10)
    names.learn(0, 7, "b.cdn.net", [ONE], 100)
    names.end(50)
    assert names.walked(51, 52, {}) == {ONE}
    assert names.selection.selectors_of(ONE) == {"b.cdn.net"}


def test_a_crowded_name_keeps_what_lasts_longest_and_connections_keep_the_rest() -> None:
    names = cache("s3.example.com", per_name=2)
    names.learn(0, 7, "s3.example.com", [ONE], 10)
    assert names.learn(1, 7, "s3.example.com", [TWO, THREE], 10) == {TWO, THREE}
    assert names.selection.addresses_of("s3.example.com") == {ONE, TWO, THREE}
    assert names.walked(2, 3, {7: [TWO]}) == {ONE}


def test_short_answers_are_lengthened() -> None:
    names = cache("a.test", min_ttl=60)
    names.learn(0, 7, "a.test", [ONE], 1)
    assert names.next_end() == 60


def test_what_is_saved_comes_back() -> None:
    names = cache("a.test")
    names.learn(0, 7, "a.test", [ONE], 10)
    names.learn(0, 7, "a.test", [TWO], 90)
    names.end(20)
    again = cache("a.test")
    lines = [line(said) for said in state(7, names.endpoints[7])]
    assert replay(again, [*lines, line(Numbered(1 << 24, ["fqdn:a.test"]))]) == (
        {1 << 24: ["fqdn:a.test"]},
        None,
    )
    assert again.selection.addresses_of("a.test") == {ONE, TWO}
    assert again.walked(30, 31, {}) == {ONE}


def test_what_happened_gives_the_same_memory() -> None:
    names, lines = cache("a.test", deferred=1), list[bytes]()
    names.on_gone = lambda endpoint, pairs: lines.extend(map(line, gone(endpoint, pairs)))
    for endpoint, ttl, address in ((7, 10, ONE), (7, 11, TWO), (7, 90, THREE), (8, 90, ONE)):
        lines.append(line(Learned(0, endpoint, "a.test", ttl, [str(address)])))
        names.learn(0, endpoint, "a.test", [address], ttl)
    names.end(20)  # there is room for one of two
    names.forget(8)
    lines.append(line(Forgotten(8)))
    again = cache("a.test", deferred=1)
    assert replay(again, lines) == ({}, None)
    again.end(20)
    assert again.selection.addresses_of("a.test") == names.selection.addresses_of("a.test")
    names.walked(30, 31, {})
    assert replay(again := cache("a.test"), lines) == ({}, None)
    again.end(31)
    assert again.selection.addresses_of("a.test") == {THREE}


@pytest.mark.parametrize(
    "text",
    [
        b'["learned",0,7,"a.test",10,["1.2.3"]]',
        b'["learned",0,7,"a.te',
        b"\xff",
        b"",
        b'["unheard of",1]',
        b'["kept",7,"nonsense",["a.test"],0,null]',
    ],
)
def test_nothing_counts_behind_a_line_that_cannot_be_read(text: bytes) -> None:
    good = [line(Learned(0, endpoint, "a.test", 9, [str(ONE)])) for endpoint in (1, 2)]
    made = cache("a.test")
    numbers, error = replay(made, [good[0], text, good[1]])
    assert (numbers, set(made.endpoints) - {7}) == ({}, {1})
    assert isinstance(error, FieldError)
    assert error.field == "line 2"


def test_no_answer_fills_memory() -> None:
    names = cache("*", pairs=3, longest_ttl=100)
    for number, ttl in enumerate((1 << 31, 50, 40, 30, 60)):
        names.learn(0, 7, f"n{number}.test", [ONE], ttl)
    held = {(name, lookup.expires) for name, _, lookup in names.endpoints[7].lookups.items()}
    assert held == {("n0.test", 100), ("n1.test", 50), ("n4.test", 60)}
