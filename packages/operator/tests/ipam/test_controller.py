# SPDX-License-Identifier: Apache-2.0
"""The IPAM controller against objects in memory: crashes between all steps, conflicts, errors."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cilium_core.cidr import overlaps
from cilium_operator.errors import ApiError
from cilium_operator.ipam.allocator import Allocator
from cilium_operator.ipam.controller import IpamController
from cilium_operator.ipam.pool import Pool
from cilium_operator.views import CiliumNodeView

_spec = importlib.util.spec_from_file_location(
    "operator_fake_store", Path(__file__).resolve().parents[1] / "fake_store.py"
)
assert _spec is not None
assert _spec.loader is not None
fake: Any = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = fake
_spec.loader.exec_module(fake)

POOL = "10.0.0.0/22"
RESERVED = ip_network("10.0.1.0/25")


def controller(store: Any, warnings: list[str] | None = None) -> IpamController:
    allocator = Allocator(
        {4: Pool([ip_network(POOL)], 24), 6: Pool([ip_network("fd00::/118")], 120)}
    )
    allocator.reserve([RESERVED])

    async def warn(node: CiliumNodeView, reason: str, message: str) -> None:
        if warnings is not None:
            warnings.append(f"{node.name} {reason} {message}")

    made = IpamController(allocator, store, warn)
    made.start(store.objects.values())
    return made


async def settle(store: Any, ours: IpamController, nodes: set[str]) -> None:
    """Sync every node until nothing changes, as the queue would."""
    for _ in range(3):
        for name in sorted({*nodes, *store.objects}):
            await ours.sync(name, store.objects.get(name), name in nodes)


def check(store: Any, nodes: set[str]) -> None:
    """No two nodes overlap, nothing reserved is given, and only a full pool leaves a node out."""
    held = [
        (name, ip_network(text)) for name, view in store.objects.items() for text in view.pod_cidrs
    ]
    for (one, first), (other, second) in combinations(held, 2):
        assert not overlaps(first, second), (one, other)
    assert not any(overlaps(network, RESERVED) for _, network in held)
    for family, room in ((4, 3), (6, 4)):
        having = {name for name, network in held if network.version == family}
        assert len(having) == min(room, len(store.objects))
    for view in store.objects.values():
        assert bool(view.error) == (len(view.pod_cidrs) < 2)


action = st.tuples(
    st.sampled_from(["add", "delete", "crash", "restart", "stale"]),
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.integers(0, 8),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(action, max_size=25))
def test_right_after_a_crash_between_any_two_steps(todo: list[tuple[str, str, int]]) -> None:
    asyncio.run(_play(todo))


async def _play(todo: list[tuple[str, str, int]]) -> None:
    store = fake.FakeStore()
    nodes: set[str] = set()
    ours = controller(store)
    for what, name, number in todo:
        if what == "add" and name not in store.objects:
            nodes.add(name)
            store.make(name)
        elif what == "delete":
            nodes.discard(name)
            store.remove(name)
        elif what == "crash":
            store.crash_at = number
        elif what == "restart":
            ours = controller(store)
        try:
            shown = store.objects.get(name)
            if what == "stale" and shown is not None:
                shown = store.first[shown.uid]
            await ours.sync(name, shown, name in nodes)
            await settle(store, ours, nodes)
        except fake.Crash:
            ours = controller(store)
    store.crash_at = -1
    await settle(store, ours, nodes)
    check(store, nodes)
    before = {name: view.pod_cidrs for name, view in store.objects.items()}
    again = controller(store)
    await settle(store, again, nodes)
    assert {name: view.pod_cidrs for name, view in store.objects.items()} == before


async def test_the_oldest_of_two_with_one_cidr_keeps_it() -> None:
    store = fake.FakeStore()
    store.make("zz", ("10.0.0.0/24", "fd00::/120"))
    store.make("aa", ("10.0.0.0/24", "fd00::100/120"))
    warnings: list[str] = []
    ours = controller(store, warnings)
    await settle(store, ours, {"aa", "zz"})
    assert store.objects["zz"].error == ""
    assert "belongs to node zz" in store.objects["aa"].error
    assert len(warnings) == 1
    store.remove("zz")
    assert await ours.sync("zz", None, False)
    await ours.sync("aa", store.objects["aa"], True)
    assert store.objects["aa"].error == ""


async def test_a_lost_answer_leads_to_the_same_cidrs() -> None:
    store = fake.FakeStore()
    first = store.make("a")
    ours = controller(store)
    store.crash_at = 1
    with pytest.raises(fake.Crash):
        await ours.sync("a", first, True)
    written = store.objects["a"].pod_cidrs
    assert written == ("10.0.0.0/24", "fd00::/120")
    await ours.sync("a", first, True)
    assert store.objects["a"].pod_cidrs == written


async def test_a_change_by_others_is_read_again_and_kept() -> None:
    store = fake.FakeStore()
    old = store.make("a")
    ours = controller(store)
    await store.write_cidrs("a", old.version, ["10.0.3.0/24"])
    await ours.sync("a", old, True)
    assert store.objects["a"].pod_cidrs == ("10.0.3.0/24", "fd00::/120")


async def test_the_cidrs_are_kept_while_the_node_exists() -> None:
    store = fake.FakeStore()
    ours = controller(store)
    await ours.sync("a", store.make("a"), True)
    store.remove("a")
    assert not await ours.sync("a", None, True)
    await ours.sync("b", store.make("b"), True)
    await ours.sync("a", store.make("a"), True)
    assert store.objects["a"].pod_cidrs == ("10.0.0.0/24", "fd00::/120")


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_object_that_its_agent_makes_again_keeps_its_cidrs(restarted: bool) -> None:
    """The agent writes the CIDRs that it uses into the new object, in any order."""
    store = fake.FakeStore()
    ours = controller(store)
    await ours.sync("a", store.make("a"), True)
    await ours.sync("b", store.make("b"), True)
    held = store.objects["b"].pod_cidrs
    store.remove("b")
    if restarted:
        ours = controller(store)
    else:
        await ours.sync("b", None, True)
    again = store.make("b", tuple(reversed(held)))
    await ours.sync("c", store.make("c"), True)  # may be looked at before b
    await ours.sync("b", again, True)
    if not restarted:
        assert store.objects["b"].pod_cidrs == tuple(reversed(held))
        assert store.objects["b"].error == ""
        return
    # A new operator that gave b's CIDRs away before b was back says so and gives b no other.
    assert "belongs to node c" in store.objects["b"].error


async def test_an_entry_that_is_no_cidr_is_named_and_nothing_given() -> None:
    store = fake.FakeStore()
    ours = controller(store)
    await ours.sync("a", store.make("a", ("10.0.0.1/24",)), True)
    assert store.objects["a"].pod_cidrs == ("10.0.0.1/24",)
    assert store.objects["a"].error.startswith("spec.ipam.podCIDRs: '10.0.0.1/24' is not a CIDR")


async def test_a_kept_cidr_outside_the_pool_is_told_once() -> None:
    store = fake.FakeStore()
    store.make("a", ("10.9.0.0/24", "fd00::/120"))
    store.make("b", ("10.0.0.0/24", "fd00::100/120"))
    with capture_logs() as said:
        ours = controller(store)
        await settle(store, ours, {"a", "b"})
    assert store.objects["a"].pod_cidrs == ("10.9.0.0/24", "fd00::/120")
    (warning,) = [entry for entry in said if "outside" in entry["event"]]
    assert warning["log_level"] == "warning"
    assert (warning["node"], warning["cidr"], warning["pool"]) == ("a", "10.9.0.0/24", POOL)


@pytest.mark.parametrize(
    ("network", "covered"),
    [
        ("10.0.2.0/24", True),
        ("10.0.0.0/22", True),
        ("10.0.0.0/21", False),
        ("10.0.4.0/24", False),
        ("10.0.3.7/32", True),
    ],
)
def test_what_a_pool_covers(network: str, covered: bool) -> None:
    assert Pool([ip_network(POOL)], 24).covers(ip_network(network)) is covered


async def test_other_refusals_are_raised() -> None:
    store = fake.FakeStore()
    view = store.make("a")
    ours = controller(store)
    store.remove("a")
    with pytest.raises(ApiError, match="404"):
        await ours.sync("a", view, True)
