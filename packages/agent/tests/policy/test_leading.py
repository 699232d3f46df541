# SPDX-License-Identifier: Apache-2.0
"""L7 policies as the API has them, to redirects: what waits for a proxy, what a restart keeps."""

from __future__ import annotations

import pytest
from policy_world import DB, EVIL, ONLY_WEB, WEB, World, policy
from redirect_fakes import FakeRedirects

from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.proxies.rulesets import RuleSets
from cilium_core.policy.decide import Verdict
from cilium_core.policy.redirects import At

PORTS = [{"port": "80", "protocol": "TCP"}]


def l7(path: str, peers: dict = ONLY_WEB) -> dict:
    return {**peers, "toPorts": [{"ports": PORTS, "rules": {"http": [{"path": path}]}}]}


class Led(World):
    """A world whose keeper leads to proxies."""

    def __init__(self, redirects: FakeRedirects, before: World | None = None) -> None:
        super().__init__(
            before.kernel if before else None, before.prefixes.rows if before else None
        )
        self.redirects = redirects
        self.sets = RuleSets(redirects)
        cidrs = self.keeper.cidrs
        self.keeper = PolicyKeeper(self.kernel, self.prefixes, cidrs, self.sets)
        self.keeper.adopt(self.prefixes.rows)
        self.sets.on_force = self.keeper.rejudge
        for number, labels in ((1000, WEB), (1002, EVIL)):
            self.keeper.set_identity(number, labels)

    def accept(self) -> None:
        for held in self.sets.all():
            self.sets.acknowledge(held.port, held.revision)

    def led(self) -> dict[int, int]:
        """The port that each identity is led to."""
        return {identity: port for (_, identity), port in self.redirects.led.items()}


@pytest.fixture
def world() -> Led:
    made = Led(FakeRedirects())
    made.start()
    made.keeper.prepare(7, 1001, DB)
    made.keeper.settled(7)
    return made


def test_led_when_a_proxy_has_the_rules_and_judged_again_then(world: Led) -> None:
    world.say(*policy({"ingress": [l7("/a")]}))
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.L7
    assert world.led() == {}
    before = world.keeper.revision
    world.accept()
    assert list(world.led()) == [1000]
    assert world.keeper.changed.is_set()
    world.keeper.flush()
    assert world.keeper.revision > before


def test_an_edit_keeps_the_port_and_the_end_takes_it_away(world: Led) -> None:
    world.say(*policy({"ingress": [l7("/a")]}))
    world.keeper.flush()
    world.accept()
    led = world.led()
    world.say(*policy({"ingress": [l7("/b")]}))
    world.keeper.flush()
    assert world.led() == led
    world.say()
    world.keeper.flush()
    assert world.led() == {}
    assert world.sets.all() == []


def test_redirects_are_there_before_the_rows_that_need_them(world: Led) -> None:
    world.say(*policy({"ingress": [l7("/a")]}))
    world.keeper.flush()
    world.accept()
    bare: list[At] = []

    def watch() -> None:
        rows = world.kernel.tables.rows
        led = {key for key, _ in world.redirects.led}
        bare.extend(key for key, row in rows.items() if key.port == 80 and key not in led)

    world.kernel.watch = watch
    world.keeper.prepare(8, 1003, {**DB, "k8s:more": "yes"})
    assert not bare
    assert len({key.policy for key, _ in world.redirects.led}) == 2


def test_a_restart_keeps_what_was_led(world: Led) -> None:
    said = policy({"ingress": [l7("/a")]})
    world.say(*said)
    world.keeper.flush()
    world.accept()
    led = dict(world.redirects.led)
    after = Led(world.redirects, world)
    after.keeper.restore(7, 1001, DB)
    after.say(*said)
    after.start()
    assert after.redirects.led == led
    assert [held.in_force for held in after.sets.all()] == [True]
