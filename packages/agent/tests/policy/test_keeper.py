# SPDX-License-Identifier: Apache-2.0
"""The order in which the keeper writes, what it adopts, and what a refusing kernel does to it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest
from policy_world import DB, EVIL, ONLY_WEB, WEB, FullMap, Killed, World, outside, policy, restarted

from cilium_agent.policy.cidrs import FIRST
from cilium_core.policy.decide import Verdict
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Tables


@pytest.fixture
def world() -> World:
    made = World()
    for number, labels in ((1000, WEB), (1002, EVIL)):
        made.keeper.set_identity(number, labels)
    made.start()
    made.keeper.prepare(7, 1001, DB)
    made.keeper.settled(7)
    return made


def test_an_endpoint_has_its_rows_before_it_is_told_its_number(world: World) -> None:
    assert world.verdict(1000) is Verdict.ALLOW
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.ALLOW
    assert world.verdict(1002) is Verdict.DENY
    assert world.verdict(1, direction=Direction.EGRESS) is Verdict.ALLOW
    assert world.keeper.enforcing(7) == {Direction.INGRESS}


def test_connections_are_judged_again_after_the_rows_are_in(world: World) -> None:
    before = world.keeper.revision
    world.kernel.done.clear()
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.flush()
    assert world.keeper.revision == world.kernel.revised > before
    assert world.kernel.done[0] == "record"
    assert world.kernel.done[-1] == "revision"


def test_an_identity_without_news_for_anyone_changes_no_revision(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.flush()
    before = world.keeper.revision
    world.keeper.set_identity(1003, {**WEB, "k8s:more": "yes"})
    world.keeper.flush()
    assert world.verdict(1003) is Verdict.ALLOW
    assert world.keeper.revision == before


def test_an_identity_that_pods_here_have_outlives_its_object(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.prepare(8, 1000, WEB)
    world.keeper.settled(8)
    world.keeper.set_identity(1000, None)
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.ALLOW
    world.keeper.forget(8)
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.DENY


def test_an_identity_that_is_made_again_outlives_its_pods(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.prepare(8, 1000, WEB)
    world.keeper.set_identity(1000, None)
    world.keeper.set_identity(1000, WEB)
    world.keeper.forget(8)
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.ALLOW


def test_prefixes_come_before_the_rows_and_go_after_them(world: World) -> None:
    spec = {"egress": [{"toCIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.8/32"]}]}]}
    world.kernel.done.clear()
    world.say(*policy(spec))
    world.keeper.flush()
    wide, narrow = ip_network("192.0.2.0/24"), ip_network("192.0.2.8/32")
    assert set(world.prefixes.rows) == {wide, narrow}
    assert world.verdict(world.prefixes.rows[wide], direction=Direction.EGRESS) is Verdict.ALLOW
    assert world.verdict(world.prefixes.rows[narrow], direction=Direction.EGRESS) is Verdict.DENY
    assert world.kernel.done.index("show") < world.kernel.done.index("rows")
    world.kernel.done.clear()
    world.say()
    world.keeper.flush()
    assert world.prefixes.rows == {}
    assert world.kernel.done.index("rows") < world.kernel.done.index("hide")


def test_a_restart_finds_the_same_numbers_and_writes_nothing(world: World) -> None:
    spec = {"ingress": [ONLY_WEB], "egress": [{"toCIDR": ["192.0.2.0/24"]}]}
    world.say(*policy(spec))
    world.keeper.flush()
    before = world.keeper.assigned(7)
    held = world.kernel.copy()
    world.kernel.done.clear()
    after = world.again()
    after.keeper.restore(7, 1001, DB)
    for number, labels in ((1000, WEB), (1002, EVIL)):
        after.keeper.set_identity(number, labels)
    after.say(*policy(spec))
    after.start()
    after.keeper.settled(7)
    after.keeper.flush()
    assert world.kernel.copy() == held
    assigned = after.keeper.assigned(7)
    assert before is not None
    assert assigned is not None
    # A kill may have come between the rows and the revision: connections are judged once more.
    assert (assigned.policy, assigned.revision) == (before.policy, before.revision + 1)
    assert after.prefixes.rows == {ip_network("192.0.2.0/24"): FIRST}
    assert not {"rows", "bits", "hide"} & set(world.kernel.done)


def test_a_policy_that_went_meanwhile_is_taken_out_at_the_start(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB], "egress": [{"toCIDR": ["192.0.2.0/24"]}]}))
    world.keeper.flush()
    after = world.again()
    after.keeper.restore(7, 1001, DB)
    after.start()
    after.keeper.settled(7)
    assert after.verdict(1002) is Verdict.ALLOW
    assert after.prefixes.rows  # until deletions are allowed
    after.keeper.flush()
    assert after.prefixes.rows == {}


def test_lost_labels_come_from_the_identity_or_cut_the_endpoint_off(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.flush()
    after = world.again()
    after.keeper.restore(7, 1001, {})
    after.keeper.restore(8, 4711, {})
    after.say(*policy({"ingress": [ONLY_WEB]}))
    after.start()
    assert after.verdict(1002) is Verdict.DENY
    assert after.verdict(1000) is Verdict.DENY  # its identity is not fed in this test
    assert after.keeper.assigned(8) is None


def test_a_refused_write_is_made_up_for(world: World) -> None:
    world.kernel.refuse_at = 1
    world.say(*policy({"ingress": [ONLY_WEB], "ingressDeny": [{"fromEntities": ["world"]}]}))
    with pytest.raises(FullMap):
        world.keeper.flush()
    world.kernel.refuse_at = None
    world.keeper.flush()
    assert world.verdict(1000) is Verdict.ALLOW
    assert world.verdict(1002) is Verdict.DENY
    assert world.verdict(2) is Verdict.DENY_RULE


def test_a_new_prefix_is_judged_as_before_by_rows_that_could_not_be_replaced(
    world: World,
) -> None:
    """What the kernel holds is neither what was said before nor what is said now."""
    allowed = {"egress": [{"toEntities": ["world"]}]}
    world.say(*policy({**allowed, "egressDeny": [{"toCIDR": ["10.0.0.0/8"]}]}))
    world.keeper.flush()
    assert world.verdict_of("10.1.2.3") is Verdict.DENY_RULE
    world.kernel.refuse_at = 0
    world.say(*policy(allowed))
    with pytest.raises(FullMap):
        world.keeper.flush()
    world.kernel.refuse_at = None
    seen: set[Verdict] = set()
    world.kernel.watch = lambda: seen.add(world.verdict_of("10.1.2.3"))
    world.say(*policy({**allowed, "egressDeny": [{"toCIDR": ["10.1.0.0/16"]}]}))
    world.keeper.flush()
    assert seen == {Verdict.DENY_RULE}


async def test_the_loop_reports_and_tries_again(world: World) -> None:
    reports: list[Exception | None] = []
    world.kernel.refuse_at = 0
    task = asyncio.create_task(world.keeper.run(reports.append))
    world.say(*policy({"ingress": [ONLY_WEB]}))
    await asyncio.sleep(0.05)
    assert isinstance(reports[0], FullMap)
    world.kernel.refuse_at = None
    await asyncio.sleep(0.4)
    assert reports[-1] is None
    assert world.verdict(1002) is Verdict.DENY
    task.cancel()


def test_old_rows_stay_while_an_endpoint_moves(world: World) -> None:
    old = world.keeper.assigned(7)
    assert old is not None
    world.keeper.prepare(7, 1003, {**DB, "k8s:version": "two"})
    new = world.keeper.assigned(7)
    assert new is not None
    assert new.policy != old.policy
    assert {key.policy for key in world.kernel.tables.rows} >= {old.policy, new.policy}
    world.keeper.settled(7)
    world.keeper.flush()
    assert old.policy not in {key.policy for key in world.kernel.tables.rows}


WIDE, HALF = {"cidr": "0.0.0.0/0"}, {"cidr": "10.0.0.0/8"}
EDITS = {
    "an exception to what becomes allowed": (
        [],
        [{**WIDE, "except": ["169.254.169.254/32"]}],
        "169.254.169.254",
    ),
    "a narrower exception": (
        [{**HALF, "except": ["10.1.0.0/16"]}],
        [{**HALF, "except": ["10.1.2.0/24"]}],
        "10.1.2.5",
    ),
    "a wider exception": (
        [{**HALF, "except": ["10.1.2.0/24"]}],
        [{**HALF, "except": ["10.1.0.0/16"]}],
        "10.1.2.5",
    ),
    "an exception in another prefix": (
        [{"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}],
        [{**WIDE, "except": ["10.1.0.0/16"]}],
        "10.1.2.5",
    ),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("backwards", [False, True])
def test_no_edit_of_prefixes_opens_what_is_shut_before_and_after(
    world: World, name: str, backwards: bool
) -> None:
    before, after, address = EDITS[name]
    if backwards:
        before, after = after, before
    nothing = policy({"egress": [{}]}, "nothing")
    world.say(*nothing, *(outside(*before) if before else ()))
    world.keeper.flush()
    assert world.verdict_of(address) is not Verdict.ALLOW
    seen: list[Verdict] = []
    world.kernel.watch = lambda: seen.append(world.verdict_of(address))
    world.say(*nothing, *(outside(*after) if after else ()))
    world.keeper.flush()
    assert world.verdict_of(address) is not Verdict.ALLOW
    assert seen
    assert Verdict.ALLOW not in seen


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("backwards", [False, True])
def test_no_edit_while_no_agent_runs_opens_what_is_shut_before_and_after(
    world: World, name: str, backwards: bool
) -> None:
    """Nor one that is carried out by many processes, each of which is killed after some writes."""
    before, after, address = EDITS[name]
    if backwards:
        before, after = after, before
    nothing = policy({"egress": [{}]}, "nothing")
    world.say(*nothing, *(outside(*before) if before else ()))
    world.keeper.flush()
    assert world.verdict_of(address) is not Verdict.ALLOW
    held, rows = world.kernel.copy(), dict(world.prefixes.rows)
    for lives in range(50):
        world.kernel.tables = Tables(dict(held.rows), dict(held.bits))
        world.prefixes.rows = dict(rows)
        now = world
        for _ in range(10):
            now = restarted(now, *nothing, *(outside(*after) if after else ()))
            seen: list[Verdict] = []
            look = now.verdict_of
            world.kernel.watch = lambda seen=seen, look=look: seen.append(look(address))
            world.kernel.left = lives
            try:
                now.start()
                now.keeper.settled(7)
                now.keeper.flush()
            except Killed:
                assert Verdict.ALLOW not in seen
            else:
                break
            finally:
                world.kernel.left = None
        assert Verdict.ALLOW not in seen
        assert now.verdict_of(address) is not Verdict.ALLOW
    assert seen


@pytest.mark.parametrize("backwards", [False, True])
def test_an_address_that_stays_open_is_open_between_processes(
    world: World, backwards: bool
) -> None:
    """Until the rows that judge it change, which is when its identity changes too."""
    wide, narrow = outside({"cidr": "10.0.0.0/8"}), outside({"cidr": "10.1.2.0/24"})
    before, after = (narrow, wide) if backwards else (wide, narrow)
    world.say(*before)
    world.keeper.flush()
    now = restarted(world, *after)
    seen: list[tuple[bool, Verdict]] = []

    def look() -> None:
        same = all(now.kernel.tables.rows.get(key) == row for key, row in held.rows.items())
        seen.append((same, now.verdict_of("10.1.2.3")))

    held = world.kernel.copy()
    world.kernel.watch = look
    now.start()
    assert (True, Verdict.ALLOW) in seen
    assert {verdict for same, verdict in seen if same} == {Verdict.ALLOW}
    assert now.verdict_of("10.1.2.3") is Verdict.ALLOW


@pytest.mark.parametrize("where", ["tables", "ipcache"])
def test_prefixes_of_a_refused_flush_are_made_up_for(world: World, where: str) -> None:
    world.kernel.refuse_at = 0 if where == "tables" else None
    world.prefixes.refuse = where == "ipcache"
    world.say(*outside({"cidr": "192.0.2.0/24", "except": ["192.0.2.8/32"]}))
    with pytest.raises(FullMap):
        world.keeper.flush()
    world.kernel.refuse_at, world.prefixes.refuse = None, False
    world.keeper.flush()
    assert set(world.prefixes.rows) == {ip_network("192.0.2.0/24"), ip_network("192.0.2.8/32")}
    assert world.verdict_of("192.0.2.1") is Verdict.ALLOW
    assert world.verdict_of("192.0.2.8") is Verdict.DENY
    world.say()
    world.keeper.flush()
    assert world.prefixes.rows == {}


def test_a_start_that_is_refused_goes_on_with_what_there_is(world: World) -> None:
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.flush()
    held = world.kernel.copy()
    after = world.again()
    after.keeper.restore(7, 1001, DB)
    after.kernel.refuse_at = 0
    with pytest.raises(FullMap):
        after.start()
    assert world.kernel.copy() == held
    after.kernel.refuse_at = None
    after.keeper.flush()
    assert after.verdict(1002) is Verdict.ALLOW  # the policy is not there any more


def test_a_pod_that_moves_to_a_policy_that_is_there_already_is_judged_anew(world: World) -> None:
    """Both label sets have their rows: nothing is written, and yet connections must be judged."""
    quarantined = {**DB, "k8s:quarantine": "yes"}
    world.say(*policy({"ingress": [ONLY_WEB]}))
    world.keeper.prepare(8, 1003, quarantined)
    world.keeper.settled(8)
    world.keeper.flush()
    old = world.keeper.assigned(7)
    assert old is not None
    world.keeper.prepare(7, 1003, quarantined)
    moved = world.keeper.assigned(7)
    assert moved is not None
    assert moved.policy != old.policy
    assert moved.revision > world.kernel.revised, "no row has had this revision"
    world.keeper.settled(7)
    world.keeper.flush()
    assert world.kernel.revised >= moved.revision
    again = world.keeper.assigned(7)
    assert again is not None
    assert again.revision == world.kernel.revised


def test_a_number_whose_record_failed_is_recorded_with_the_next(world: World) -> None:
    record = world.kernel.record

    def refuse(bits, policies) -> None:
        raise FullMap("the map is full")

    world.kernel.record = refuse
    world.say(*policy({"ingress": [ONLY_WEB]}))
    with pytest.raises(FullMap):
        world.keeper.flush()
    world.kernel.record = record
    world.keeper.flush()
    assert world.kernel.bits
    assert world.verdict(1002) is Verdict.DENY
