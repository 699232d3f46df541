# SPDX-License-Identifier: Apache-2.0
"""What names open, when, for how long; what an answer costs; what a restart keeps."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from names_world import World
from policy_world import DB, FullMap, policy

from cilium_agent.fqdn.journal import Journal
from cilium_core.identity import LOCAL_SCOPE
from cilium_core.policy.decide import Verdict

ONE, TWO, V6 = "192.0.2.1", "198.51.100.2", "2001:db8::1"
WEB_HTTP = {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{"path": "/"}]}}


def to(*names: str, **more: object) -> dict:
    key = {True: "matchPattern", False: "matchName"}
    return {"toFQDNs": [{key["*" in name]: name} for name in names], **more}


def egress(*rules: dict) -> list:
    return policy({"egress": list(rules)})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.say(*egress(to("*.example.com", "api.test")))
    made.start()
    yield made
    made.journal.close()


def test_a_name_opens_its_addresses_and_no_others(world: World) -> None:
    assert world.verdict(ONE) is Verdict.DENY
    assert world.learn("WWW.example.com.", ONE, V6)
    assert world.verdict(ONE) is world.verdict(V6) is Verdict.ALLOW
    assert world.verdict(TWO) is Verdict.DENY
    assert not world.learn("unasked.test.", TWO)
    assert world.verdict(TWO) is Verdict.DENY
    labels = world.keeper.local_labels()[world.identity(ONE)]
    assert labels == {"fqdn:*.example.com": "", "reserved:world-ipv4": ""}


def test_an_address_that_comes_to_a_known_identity_is_one_row_and_nothing_else(
    world: World,
) -> None:
    world.learn("a.example.com.", ONE)
    flushes, world.kernel.done = [], []
    world.names.flush = lambda: flushes.append(1)
    for number in range(50):
        world.learn(f"b{number}.example.com.", f"198.51.100.{number}")
    assert world.kernel.done == ["names"] * 50
    assert not flushes
    assert len({world.identity(f"198.51.100.{number}") for number in range(50)}) == 1
    world.learn("b0.example.com.", "198.51.100.0")  # told again: nothing is written
    assert len(world.kernel.done) == 50


def test_the_bits_of_a_new_identity_come_before_the_row(world: World) -> None:
    world.learn("api.test.", ONE)
    world.kernel.done = []
    world.learn("x.example.com.", ONE)  # both selectors: a label set that is new
    assert world.kernel.done.index("bits") < world.kernel.done.index("names")
    assert set(world.keeper.local_labels()[world.identity(ONE)]) == {
        "fqdn:*.example.com",
        "fqdn:api.test",
        "reserved:world-ipv4",
    }


def test_a_policy_that_comes_later_finds_what_was_answered(world: World) -> None:
    world.learn("late.test.", ONE)
    assert world.verdict(ONE) is Verdict.DENY
    world.say(*egress(to("*.example.com"), to("late.test")))
    world.keeper.flush()
    assert world.verdict(ONE) is Verdict.ALLOW
    world.say(*egress(to("*.example.com")))
    world.keeper.flush()
    assert world.verdict(ONE) is Verdict.DENY
    assert not world.rows.rows


def test_a_pattern_that_is_replaced_by_another_interrupts_nothing(world: World) -> None:
    world.learn("www.example.com.", ONE)
    seen = []
    world.kernel.watch = lambda: seen.append(world.verdict(ONE))
    world.say(*egress(to("www.example.com")))
    world.keeper.flush()
    assert set(seen) == {Verdict.ALLOW}
    assert set(world.keeper.local_labels()[world.identity(ONE)]) == {
        "fqdn:www.example.com",
        "reserved:world-ipv4",
    }


def test_ports_and_application_rules_go_with_the_name(world: World) -> None:
    tls = {"ports": [{"port": "443", "protocol": "TCP"}]}
    world.say(*egress(to("api.test", toPorts=[tls, WEB_HTTP])))
    world.keeper.flush()
    world.learn("api.test.", ONE)
    assert world.verdict(ONE, 443) is Verdict.ALLOW
    assert world.verdict(ONE, 80) is Verdict.L7
    assert world.verdict(ONE, 81) is Verdict.DENY


def test_a_prefix_around_keeps_its_rights_and_its_exceptions(world: World) -> None:
    world.learn("www.example.com.", ONE)
    world.learn("www.example.com.", TWO)
    ports = [{"ports": [{"port": "25", "protocol": "TCP"}]}]
    wide = {"toCIDRSet": [{"cidr": "192.0.0.0/8", "except": ["192.0.2.0/24"]}], "toPorts": ports}
    near = {"toCIDR": ["198.51.0.0/16"], "toPorts": ports}
    world.say(*egress(to("*.example.com", toPorts=[{"ports": [{"port": "443"}]}]), wide, near))
    world.keeper.flush()
    assert [world.verdict(ONE, port) for port in (443, 25)] == [Verdict.ALLOW, Verdict.DENY]
    assert [world.verdict(TWO, port) for port in (443, 25)] == [Verdict.ALLOW, Verdict.ALLOW]
    assert "cidr:198.51.0.0/16" in world.keeper.local_labels()[world.identity(TWO)]
    world.say(*egress(to("*.example.com")))
    world.keeper.flush()
    assert not [key for key in world.keeper.local_labels()[world.identity(TWO)] if "cidr" in key]


def test_a_denied_prefix_stays_denied_for_its_names(world: World) -> None:
    said = policy({"egress": [to("*.example.com")], "egressDeny": [{"toCIDR": ["192.0.2.0/24"]}]})
    world.say(*said)
    world.keeper.flush()
    world.learn("www.example.com.", ONE)
    assert world.verdict(ONE) is Verdict.DENY_RULE


def test_an_address_ends_with_its_ttl_and_its_last_connection(world: World) -> None:
    world.learn("www.example.com.", ONE, ttl=10)
    world.now += 20
    world.names.end()
    assert world.verdict(ONE) is Verdict.ALLOW
    assert world.names.waiting() == {7}
    world.names.walked(world.now - 1, {7: [ip_address(ONE)]})
    world.now += 60
    world.names.walked(world.now - 1, {7: [ip_address(ONE)]})
    assert world.verdict(ONE) is Verdict.ALLOW
    world.now += 60
    world.names.walked(world.now - 1, {})
    assert world.verdict(ONE) is Verdict.DENY
    assert world.names.deletions == 1


def test_an_endpoint_that_goes_takes_its_names_along(world: World) -> None:
    world.learn("www.example.com.", ONE)
    world.learn("www.example.com.", ONE, client=ip_address("10.0.0.8"))
    world.names.forget(8)
    world.names.end()
    assert world.verdict(ONE) is Verdict.ALLOW
    world.names.forget(7)
    world.names.end()
    assert ip_address(ONE) not in world.rows.rows


@pytest.mark.parametrize("text", ["::ffff:192.0.2.1", "0.0.0.0", "127.0.0.1", "::1", "224.0.0.1"])
def test_answers_mean_no_such_address(world: World, text: str) -> None:
    assert world.learn("www.example.com.", text)
    assert not world.rows.rows


def test_nobody_that_is_no_endpoint_teaches_names(world: World) -> None:
    assert not world.learn("www.example.com.", ONE, client=ip_address("10.9.9.9"))
    assert not world.rows.rows


def test_a_refused_row_is_raised_and_made_up_for(world: World) -> None:
    world.rows.refuse = True
    with pytest.raises(FullMap):
        world.learn("www.example.com.", ONE)
    assert world.verdict(ONE) is Verdict.DENY
    world.rows.refuse = False
    world.names.end()
    assert world.verdict(ONE) is Verdict.ALLOW


def test_a_refused_bit_opens_nothing_and_is_made_up_for(world: World) -> None:
    world.learn("api.test.", ONE)
    world.kernel.refuse_at = 0
    with pytest.raises(FullMap):
        world.learn("x.example.com.", ONE, TWO)  # ONE has a new label set
    assert world.verdict(TWO) is Verdict.DENY
    world.kernel.refuse_at = None
    world.names.end()
    assert world.verdict(ONE) is world.verdict(TWO) is Verdict.ALLOW


def test_a_kill_keeps_rows_names_and_numbers(world: World) -> None:
    world.learn("www.example.com.", ONE)
    world.learn("x.example.com.", ONE, ttl=5)
    world.learn("late.test.", TWO)
    numbers = {text: world.identity(text) for text in (ONE,)}
    after = world.again()  # nothing was closed
    after.say(*egress(to("*.example.com", "api.test"), to("late.test")))
    after.start(restored=True)
    assert {text: after.identity(text) for text in (ONE,)} == numbers
    assert after.verdict(ONE) is after.verdict(TWO) is Verdict.ALLOW
    after.now += 61
    after.names.end()
    after.now += 1
    after.names.walked(after.now - 0.5, {})
    assert after.verdict(ONE) is after.verdict(TWO) is Verdict.DENY
    assert not after.rows.rows
    last = after.again()
    last.say(*egress(to("*.example.com")))
    last.start(restored=True)
    assert last.verdict(ONE) is Verdict.DENY  # what was over stays over


def test_a_kill_opens_nothing_that_policies_close_meanwhile(world: World) -> None:
    world.learn("www.example.com.", ONE)
    after = world.again()
    after.say(*egress(to("other.test")))
    after.start(restored=True)
    assert after.verdict(ONE) is Verdict.DENY
    assert not after.rows.rows


def test_lost_files_close_and_no_number_comes_again(world: World) -> None:
    world.learn("www.example.com.", ONE, TWO)
    before = world.identity(ONE)
    for path in world.folder.iterdir():
        path.unlink()
    after = world.again()
    after.say(*egress(to("*.example.com")))
    after.start(restored=True)
    assert after.verdict(ONE) is Verdict.DENY
    after.learn("www.example.com.", ONE)
    assert after.verdict(ONE) is Verdict.ALLOW
    assert after.identity(ONE) > before >= LOCAL_SCOPE


def test_the_journal_is_begun_anew_when_it_is_mostly_of_the_past(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cilium_agent.fqdn.journal.SMALLEST", 1000)
    for _ in range(200):
        world.learn("www.example.com.", ONE)
    assert world.journal.grown
    pieces = world.journal.begin(world.names.state)
    next(pieces)  # one piece is written, and something happens meanwhile
    world.learn("x.example.com.", TWO)
    half = world.again()
    assert set(map(str, half.names.cache.selection._names)) == {ONE, TWO}
    for _ in pieces:
        pass
    assert not world.journal.grown
    assert len(list(world.folder.iterdir())) == 1
    whole = world.again()
    assert set(map(str, whole.names.cache.selection._names)) == {ONE, TWO}


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    world = World(blocked)
    world.say(*egress(to("*.example.com")))
    world.start()
    world.learn("www.example.com.", ONE)
    assert world.verdict(ONE) is Verdict.ALLOW


def test_a_line_written_in_part_is_left_out(world: World) -> None:
    world.learn("www.example.com.", ONE)
    (path,) = world.folder.iterdir()
    path.write_bytes(path.read_bytes() + b'["learned",1000,7,"x.exa')
    assert set(map(str, world.again().names.cache.selection._names)) == {ONE}


def test_a_number_of_a_prefix_is_not_that_of_a_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.say(*egress(to("api.test"), {"toCIDR": [f"{ONE}/32"]}))
    world.start()
    world.learn("api.test.", ONE)
    assert world.prefixes.rows[ip_network(ONE)] != world.identity(ONE)
    labels = set(world.keeper.local_labels()[world.identity(ONE)])
    assert {"fqdn:api.test", f"cidr:{ONE}/32", "reserved:world-ipv4"} <= labels
    world.say(*egress({"toCIDR": [f"{ONE}/32"]}))
    world.keeper.flush()
    assert world.verdict(ONE) is Verdict.ALLOW
    Journal(tmp_path / "unused").close()


@pytest.mark.parametrize("how", ["after a refusal", "at a restart"])
def test_a_prefix_that_comes_denied_never_lets_its_names_through(world: World, how: str) -> None:
    world.learn("www.example.com.", ONE)
    ports = {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}
    said = policy(
        {
            "egress": [to("*.example.com", **ports)],
            "egressDeny": [{"toCIDR": ["192.0.2.0/24"], **ports}],
        }
    )
    world.say(*egress(to("*.example.com", toPorts=[{"ports": [{"port": "443"}]}])))
    world.keeper.flush()
    if how == "at a restart":
        world = world.again()
    seen = []
    world.say(*said)
    if how == "after a refusal":
        world.kernel.refuse_at = 0
        with pytest.raises(FullMap):
            world.keeper.flush()
        world.kernel.refuse_at = None
        world.kernel.watch = lambda: seen.append(world.verdict(ONE, 80))
        world.keeper.flush()
    else:
        world.keeper.restore(7, 1001, DB)
        world.kernel.watch = lambda: seen.append(world.verdict(ONE, 80))
        world.keeper.start({1001: DB}.get)
    assert seen
    assert Verdict.ALLOW not in seen
    world.kernel.watch = lambda: None
