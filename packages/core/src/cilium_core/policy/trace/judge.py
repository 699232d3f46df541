# SPDX-License-Identifier: Apache-2.0
"""The verdict on a probe: the egress of its source, then the ingress of its target. Pure.

A service's address stands for its backends, each of which is judged; if they differ, the answer is
that of the first that is refused, since a connection may meet it. The host reaches its own pods
whatever policies say (health probes come from there), and everyone reaches itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cilium_core.policy.decide import Verdict
from cilium_core.policy.requests import Answer, answer
from cilium_core.policy.rules import Direction
from cilium_core.policy.trace.ends import Target, ends
from cilium_core.policy.trace.parties import Party
from cilium_core.policy.trace.probe import Probe
from cilium_core.policy.trace.world import World


class Decision(NamedTuple):
    """What one side says. `hint` tells, for a default deny, of the rule that came nearest."""

    direction: Direction
    answer: Answer
    decided_by: str
    hint: str = ""


class Judgement(NamedTuple):
    """The answer to a probe, and who gave it. `sides` are in the order that a packet meets them.

    `target` is None when a service has no backend; `backends` are there for a service.
    """

    answer: Answer
    decided_by: str
    source: Party
    target: Target | None
    sides: tuple[Decision, ...] = ()
    service: str = ""
    backends: tuple[Judgement, ...] = ()


def judge(world: World, probe: Probe) -> Judgement:
    """Answer a probe. FieldError for an end that the manifests do not have."""
    source, targets = ends(world, probe)
    each = tuple(_judge(world, probe, source, target) for target in targets.found)
    if not targets.service:
        return each[0]
    if not each:
        why = f"service {targets.service} has no ready backend on this port"
        return Judgement(Answer.DENY, why, source, None, service=targets.service)
    worst = next((one for one in each if one.answer is not Answer.ALLOW), each[0])
    return worst._replace(service=targets.service, backends=each)


def _judge(world: World, probe: Probe, source: Party, target: Target) -> Judgement:
    if source == target.party:
        return Judgement(Answer.ALLOW, "itself: no policy applies", source, target)
    if source.is_host_of(target.party) and target.party.subject:
        return Judgement(Answer.ALLOW, "the host reaches its own pods", source, target)
    sides = tuple(_sides(world, probe, source, target))
    refused = next((side for side in sides if side.answer is not Answer.ALLOW), None)
    if refused:
        return Judgement(refused.answer, _phrase(refused), source, target, sides)
    why = "; ".join(map(_phrase, sides)) or "neither end is a pod or node of the manifests"
    return Judgement(Answer.ALLOW, why, source, target, sides)


def _phrase(side: Decision) -> str:
    return f"{side.direction.name.lower()}: {side.decided_by}"


def _sides(world: World, probe: Probe, source: Party, target: Target) -> Iterator[Decision]:
    """Yield the side of each end that is a subject; nothing follows one that refuses."""
    for direction, subject, peer in (
        (Direction.EGRESS, source, target.party),
        (Direction.INGRESS, target.party, source),
    ):
        if subject.subject is None:
            continue
        found = _decide(world, probe, direction, target, subject, peer)
        yield found
        if found.answer is not Answer.ALLOW:
            return


def _decide(
    world: World, probe: Probe, direction: Direction, target: Target, subject: Party, peer: Party
) -> Decision:
    found = world.explain(subject, direction, target.protocol, target.port, peer)
    if found.verdict is Verdict.L7:
        said, origin = answer(found, probe.request)
        return Decision(direction, said, str(origin))
    if found.verdict is Verdict.ALLOW:
        return Decision(direction, Answer.ALLOW, str(found))
    hint = ""
    if found.verdict is Verdict.DENY:
        hint = world.nearest(subject, direction, target.protocol, target.port, peer)
    return Decision(direction, Answer.DENY, str(found), hint)
