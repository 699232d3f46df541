# SPDX-License-Identifier: Apache-2.0
"""When connections are led where: listener first, map second; in the end the other way round."""

from __future__ import annotations

import pytest
from redirect_fakes import FakeRedirects

from cilium_agent.proxies.rulesets import PATIENCE, RuleSets
from cilium_core.policy.redirects import RuleSet
from cilium_core.policy.rules import Direction, L7Kind, L7Rules, Origin, PortRange, Protocol, Rule
from cilium_core.policy.tables import RowKey

ROW = RowKey(5, Direction.EGRESS, 6, 80, 16)
AT, OTHER = (ROW, 300), (ROW, 301)


def rules(path: str = "/a", field: str = "spec.egress[0]", kind: L7Kind = L7Kind.HTTP) -> RuleSet:
    rule = Rule(
        Direction.EGRESS,
        False,
        None,
        frozenset({PortRange(Protocol.TCP, 80, 80)}),
        L7Rules(kind, frozenset({(("path", path),)})),
        Origin("CiliumNetworkPolicy", "x", "p", field),
    )
    return RuleSet(Direction.EGRESS, frozenset({rule}), False)


class Book:
    """Rule sets over a fake kernel and clock; `told` is what proxies hear."""

    def __init__(self, kernel: FakeRedirects) -> None:
        self.kernel, self.now, self.told, self.forced = kernel, 100.0, [], 0
        self.sets = RuleSets(kernel, lambda: self.now)
        self.sets.listeners.append(lambda held, removed: self.told.append((held.port, removed)))
        self.sets.on_force = self._force

    def _force(self) -> None:
        self.forced += 1

    def want(self, changes) -> None:
        self.sets.take_in(changes)
        self.sets.before_rows()
        self.sets.after_rows()

    def accept(self) -> None:
        for held in self.sets.all():
            self.sets.acknowledge(held.port, held.revision)


@pytest.fixture
def book() -> Book:
    return Book(FakeRedirects())


def test_nothing_is_led_before_a_proxy_listens(book: Book) -> None:
    book.want({AT: rules(), OTHER: rules()})
    ((port, removed),) = book.told
    assert (book.kernel.led, removed, book.sets.missing()) == ({}, False, 2)
    book.accept()
    assert book.kernel.led == {AT: port, OTHER: port}
    assert (book.forced, book.sets.missing()) == (1, 0)
    assert book.sets.in_force() == {L7Kind.HTTP: 1}
    book.accept()
    assert book.forced == 1


def test_a_refusal_or_an_old_answer_leads_nowhere(book: Book) -> None:
    book.want({AT: rules()})
    (held,) = book.sets.all()
    book.sets.acknowledge(held.port, held.revision - 1)
    book.sets.acknowledge(held.port, held.revision, "a regex is bad")
    book.sets.acknowledge(9999, 1)
    assert (book.kernel.led, held.error) == ({}, "a regex is bad")
    book.accept()
    assert (len(book.kernel.led), held.error) == (1, "")


def test_an_edit_is_told_and_nothing_is_led_elsewhere(book: Book) -> None:
    book.want({AT: rules()})
    book.accept()
    led, (held,) = dict(book.kernel.led), book.sets.all()
    before = held.revision
    book.want({AT: rules("/b")})
    assert (book.kernel.led, book.sets.all()) == (led, [held])
    assert held.revision > before
    assert [removed for _, removed in book.told] == [False, False]


def test_the_map_goes_before_the_listener(book: Book) -> None:
    book.want({AT: rules()})
    book.accept()
    book.sets.listeners.append(
        lambda _held, removed: removed and led.append(book.kernel.led.copy())
    )
    led: list = []
    book.want({AT: None})
    assert led == [{}]
    assert book.told[-1][1]


def test_another_rule_set_takes_over_when_it_is_in_force(book: Book) -> None:
    book.want({AT: rules()})
    book.accept()
    old = book.kernel.led[AT]
    book.want({AT: rules(field="spec.egress[1]")})
    assert book.kernel.led == {AT: old}
    assert book.sets.waiting
    book.accept()
    assert book.kernel.led[AT] != old
    book.want({})
    assert (old, True) in book.told
    assert not book.sets.waiting


def test_the_former_rule_set_does_not_stand_in_for_ever(book: Book) -> None:
    book.want({AT: rules()})
    book.accept()
    book.want({AT: rules(field="spec.egress[1]")})
    book.now += PATIENCE
    book.want({})
    assert book.kernel.led == {}
    assert book.sets.missing() == 1


def test_what_was_in_force_before_a_restart_stays(book: Book) -> None:
    book.want({AT: rules(), OTHER: rules(field="spec.egress[1]")})
    book.accept()
    led = dict(book.kernel.led)
    again = Book(book.kernel)
    again.sets.before_rows()
    assert book.kernel.led == led
    again.want({AT: rules("/edited")})
    again.sets.adopted_all()
    assert book.kernel.led == {AT: led[AT]}, "what nobody wants any more is not led anywhere"
    assert [held.in_force for held in again.sets.all()] == [True]
    assert again.sets.all()[0].revision > max(h.revision for h in book.sets.all())


def test_what_was_not_in_force_before_a_restart_is_not(book: Book) -> None:
    book.want({AT: rules()})
    again = Book(book.kernel)
    again.want({AT: rules()})
    assert book.kernel.led == {}
    assert again.sets.all()[0].port == book.sets.all()[0].port


def test_rules_of_several_kinds_are_led_nowhere(book: Book) -> None:
    both = RuleSet(Direction.EGRESS, rules().rules | rules(kind=L7Kind.KAFKA).rules, False)
    book.want({AT: both})
    assert (book.told, book.sets.all()) == ([], [])
