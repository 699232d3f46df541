# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=policy-engine`: what the policy engine costs, kernel writes not included.

10 000 identities, 1 000 policies and 100 endpoints: all at once from nothing, and one change at a
time on top. The rival of the full computation is the obvious loop over rules and identities, run
on one in a hundred rules and multiplied (whole, it takes minutes).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from bench.report import Result, bound, publish
from cilium_core.policy.engine import Changes, Engine
from cilium_core.policy.plan import plan
from cilium_core.policy.rules import (
    Direction,
    Operator,
    Origin,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)
from cilium_core.policy.tables import Step, Tables

NAMESPACES, APPS = 100, 100
NAMESPACE = "k8s:io.kubernetes.pod.namespace"
TEAM = "k8s:io.cilium.k8s.namespace.labels.team"
ROUNDS = 10
BOTH = frozenset(Direction)


def labels(number: int) -> dict[str, str]:
    """Return the labels of one of the identities: an app in a namespace of a team."""
    namespace, app = divmod(number, APPS)
    return {
        NAMESPACE: f"ns{namespace}",
        TEAM: f"team{namespace % 10}",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": f"ns{namespace}",
        "k8s:io.cilium.k8s.policy.cluster": "default",
        "k8s:io.cilium.k8s.policy.serviceaccount": "default",
        "k8s:app": f"app{app}",
        "k8s:tier": f"tier{app % 5}",
    }


def _select(**wanted: str) -> Selector:
    keys = {"namespace": NAMESPACE, "team": TEAM, "app": "k8s:app", "tier": "k8s:tier"}
    found = [Requirement(keys[k], Operator.IN, (v,)) for k, v in wanted.items()]
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def policy(number: int) -> Policy:
    """Return one of the policies, ten of them in each namespace; one in ten has wide peers."""
    namespace, kind = number % NAMESPACES, number // NAMESPACES
    origin = Origin("CiliumNetworkPolicy", f"ns{namespace}", f"p{kind}")
    ns, port = f"ns{namespace}", 8000 + kind
    wide = _select(team=f"team{number % 10}") if kind % 10 == 9 else None
    subjects = (_select(namespace=ns), _select(namespace=ns, tier=f"tier{kind % 5}"))
    peers = (
        _select(namespace=ns, app=f"app{number % APPS}"),
        wide or _select(namespace=f"ns{number * 7 % NAMESPACES}", tier=f"tier{kind % 5}"),
    )

    def rule(direction: Direction, peer: Selector, *ports: PortRange) -> Rule:
        deny = kind == 8 and direction is Direction.INGRESS
        return Rule(direction, deny, PeerSet(frozenset({peer})), frozenset(ports), None, origin)

    return Policy(
        origin=origin,
        subject=subjects[kind % 2],
        default_deny=BOTH,
        rules=(
            rule(Direction.INGRESS, peers[0], PortRange(Protocol.TCP, port, port)),
            rule(Direction.INGRESS, peers[1], PortRange(Protocol.TCP, 8000, 8100)),
            rule(Direction.EGRESS, peers[1]),
            rule(Direction.EGRESS, _select(app="app53"), PortRange(Protocol.ANY, 53, 53)),
        ),
    )


def build(rules: int = 1000, wide: bool = False) -> Engine:
    """Return an engine fed with everything; `wide`: every policy selects every endpoint."""
    engine = Engine()
    for number in range(NAMESPACES * APPS):
        engine.set_identity(256 + number, labels(number))
    for number in range(100):
        engine.set_subject(number, labels(number * APPS + number % 50))
    for number in range(rules):
        found = policy(number)
        if wide:
            found = Policy(found.origin, Selector(), found.default_deny, found.rules)
        engine.set_policies(number, [found])
    return engine


def full(wide: bool = False) -> float:
    """Return the seconds of a full computation, from objects to tables."""
    gc.collect()
    begin = time.perf_counter()
    build(wide=wide).take(0.0)
    return time.perf_counter() - begin


def naive() -> float:
    """Return the seconds that comparing every rule with every identity would take."""
    share = 100
    rules = [rule for n in range(0, 1000, share) for rule in policy(n).rules]
    everyone = [labels(number) for number in range(NAMESPACES * APPS)]
    begin = time.perf_counter()
    for rule in rules:
        for one in everyone:
            assert rule.peers is not None
            rule.peers.matches(one)
    return (time.perf_counter() - begin) * share


def _steps(held: Tables, changes: Changes) -> list[Step]:
    return plan(held, changes.rows, changes.bits)


def change(engine: Engine, do: Callable[[], None], undo: Callable[[], None]) -> tuple[float, int]:
    """Return the milliseconds from one change to its ordered writes, and how many they are."""
    held = Tables(dict(engine.tables.rows), dict(engine.tables.bits))
    begin = time.perf_counter()
    do()
    steps = _steps(held, engine.take(0.0))
    seconds = time.perf_counter() - begin
    undo()
    engine.take(0.0)
    return seconds * 1000, sum(len(step.rows) + len(step.bits) for step in steps)


def new_identity(engine: Engine) -> tuple[float, int]:
    """Add one identity, a peer of every policy (by their rule for app53) and no other."""
    found = {**labels(53), NAMESPACE: "new", TEAM: "new", "k8s:tier": "new"}
    return change(
        engine,
        lambda: engine.set_identity(60000, found),
        lambda: engine.remove_identity(60000),
    )


def new_policy(engine: Engine) -> tuple[float, int]:
    """Add one policy that selects one endpoint, for peers in the endpoint's namespace."""
    return change(
        engine,
        lambda: engine.set_policies("new", [policy(607)]),
        lambda: engine.remove_policies("new"),
    )


def run() -> None:
    """Measure everything and publish it."""
    few, many = build(10), build()
    few.take(0.0)
    many.take(0.0)
    times, writes = zip(*(new_identity(many) for _ in range(ROUNDS)), strict=True)
    _, few_writes = zip(*(new_identity(few) for _ in range(ROUNDS)), strict=True)
    many.remove_policies(607)
    many.take(0.0)
    policy_times, policy_writes = zip(*(new_policy(many) for _ in range(ROUNDS)), strict=True)
    fulls = [full() for _ in range(ROUNDS)]
    naives = [naive() for _ in range(3)]
    results: list[Result] = [
        bound("full computation, 1 000 policies", fulls, "s", 1.0),
        bound("the same, every policy selecting all 100", [full(wide=True) for _ in range(3)], "s"),
        bound("every rule against every identity", naives, "s", note="from 1 % of the rules"),
        _at_least("times faster than that", [min(naives) / one for one in fulls], 100.0),
        bound("one more identity, to ordered writes", times, "ms", 10.0),
        bound("writes of one more identity at 1 000 policies", writes, "writes", max(few_writes)),
        bound("writes of one more identity at 10 policies", few_writes, "writes"),
        bound("one more policy, to ordered writes", policy_times, "ms"),
        bound("writes of one more policy", policy_writes, "writes"),
        bound("rows in all", [float(len(many.tables.rows))], "rows"),
        bound("words of bits in all", [float(len(many.tables.bits))], "words"),
    ]
    publish("policy-engine", results)


def _at_least(name: str, samples: Sequence[float], target: float) -> Result:
    result = bound(name, samples, "times")
    result.target, result.better, result.met = target, "higher", result.value >= target
    return result
