# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest
from proxy_fakes import gone, http, rule_set

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy import controller as controllers
from cilium_proxy.controller import Controller
from cilium_proxy.rules.held import Change
from cilium_proxy.translate.naming import LISTENER, ROUTES
from cilium_proxy.xds.table import Answer, Table


class Rig:
    """A controller whose Envoy is the test."""

    def __init__(self) -> None:
        self.table = Table()
        self.results: list[tuple[int, int, str]] = []
        self.shut = ""
        self.controller = Controller(self.table, self._report, listens=self._listens)

    def _report(self, result: pb.Result) -> None:
        self.results.append((result.port, result.revision, result.error))

    async def _listens(self, port: int) -> str:
        return self.shut

    def put(self, *sets: pb.RuleSet) -> None:
        self.controller.take(Change(sets))

    async def answer(self, type_url: str, name: str, error: str = "") -> None:
        version = self.table.wanted(type_url)[name].version
        self.table.answered(Answer(type_url, name, version, error))
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def rig():
    return Rig()


async def test_a_rule_set_is_in_force_when_listener_and_routes_are_taken(rig):
    rig.put(rule_set(10001, 4, [http(path="/a")]))
    assert rig.table.ready
    await rig.answer(LISTENER, "10001")
    assert rig.results == []
    await rig.answer(ROUTES, "10001")
    assert rig.results == [(10001, 4, "")]
    assert rig.controller.pending == 0


async def test_an_edit_is_routes_alone(rig):
    rig.put(rule_set(10001, 1, [http(path="/a")]))
    await rig.answer(LISTENER, "10001")
    await rig.answer(ROUTES, "10001")
    rig.shut = "nobody asks whether the port is open"
    rig.put(rule_set(10001, 2, [http(path="/b")]))
    await rig.answer(ROUTES, "10001")
    assert rig.results[1:] == [(10001, 2, "")]


async def test_the_same_rules_at_a_new_revision_are_in_force_at_once(rig):
    rig.put(rule_set(10001, 1, [http(path="/a")]))
    await rig.answer(LISTENER, "10001")
    await rig.answer(ROUTES, "10001")
    rig.put(rule_set(10001, 2, [http(path="/a")]))
    assert rig.results[1:] == [(10001, 2, "")]


async def test_what_envoy_refuses_is_told_with_the_rule_sets_name(rig):
    rig.put(rule_set(10001, 1, name="web"))
    await rig.answer(LISTENER, "10001")
    await rig.answer(ROUTES, "10001", "bad regex")
    assert rig.results == [(10001, 1, "rule set web on port 10001: bad regex")]
    assert rig.controller.refused == 1


async def test_rules_that_cannot_be_translated_leave_the_old_ones(rig):
    rig.put(rule_set(10001, 1, [http(path="/a")]))
    before = dict(rig.table.wanted(ROUTES))
    rig.put(rule_set(10001, 2, [http(path="/a[")]))
    ((port, revision, error),) = rig.results
    assert (port, revision) == (10001, 2)
    assert "rule 0 of set-10001: path" in error
    assert rig.table.wanted(ROUTES) == before


async def test_a_port_that_is_taken_is_tried_again(rig, monkeypatch):
    monkeypatch.setattr(controllers, "RETRY_SECONDS", 0.01)
    rig.put(rule_set(10001, 1))
    await rig.answer(LISTENER, "10001", "cannot bind: Address already in use")
    assert "10001" not in rig.table.wanted(LISTENER)
    await asyncio.sleep(0.05)
    await rig.answer(LISTENER, "10001")
    await rig.answer(ROUTES, "10001")
    assert [bool(error) for _, _, error in rig.results] == [True, False]


async def test_a_port_that_does_not_open_is_no_success(rig):
    rig.shut = "nothing listens"
    rig.put(rule_set(10001, 1))
    await rig.answer(LISTENER, "10001")
    await rig.answer(ROUTES, "10001")
    assert [error.endswith("nothing listens") for _, _, error in rig.results] == [True]


async def test_a_removed_set_is_gone_and_its_retry_too(rig, monkeypatch):
    monkeypatch.setattr(controllers, "RETRY_SECONDS", 0.01)
    rig.put(rule_set(10001, 1))
    await rig.answer(LISTENER, "10001", "in use")
    rig.controller.take(Change((), (gone(10001, 5),)))
    await asyncio.sleep(0.05)
    assert not rig.table.wanted(LISTENER)
    assert not rig.table.wanted(ROUTES)
    assert rig.results[-1] == (10001, 5, "")


async def test_an_answer_for_something_older_settles_nothing(rig):
    rig.put(rule_set(10001, 1, [http(path="/a")]))
    old = rig.table.wanted(ROUTES)["10001"].version
    rig.put(rule_set(10001, 2, [http(path="/b")]))
    await rig.answer(LISTENER, "10001")
    rig.table.answered(Answer(ROUTES, "10001", old))
    assert rig.results == []
    await rig.answer(ROUTES, "10001")
    assert rig.results == [(10001, 2, "")]
