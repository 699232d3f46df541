# SPDX-License-Identifier: Apache-2.0
"""Policies, peer sets and enforcement as the API shows them. Reads only."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cilium_agent.policy.repository import Held, PolicyKey
from cilium_agent.state import AgentState
from cilium_core.policy.bits import place
from cilium_core.policy.rules import Direction, Operator, PeerSet, Requirement, Selector

SHOWN_IDENTITIES = 100


def policies(state: AgentState) -> dict[str, Any]:
    """Return every policy object with its problems, and the revision in force."""
    repository, keeper = state.repository, state.keeper
    held = repository.held if repository is not None else {}
    return {
        "revision": keeper.revision if keeper is not None else 0,
        "policies": [_policy(key, held[key]) for key in sorted(held)],
    }


def selectors(state: AgentState) -> list[dict[str, Any]]:
    """Return the peer sets in force: role, bit, how many rules' rows use it, and identities."""
    if state.keeper is None:
        return []
    uses = state.keeper.engine.uses()
    words: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (identity, word), mask in state.keeper.engine.tables.bits.items():
        words[word].append((identity, mask))
    shown = []
    for use, number in sorted(uses.items(), key=lambda item: item[1]):
        word, bit = place(number)
        having = sorted(identity for identity, mask in words[word] if mask & bit)
        shown.append(
            {
                "selector": peer_text(use.peers),
                "role": use.role.name.lower(),
                "bit": number,
                "identities": having[:SHOWN_IDENTITIES],
                "identity-count": len(having),
            }
        )
    return shown


def enforcement(state: AgentState, endpoint_id: int) -> dict[str, Any]:
    """Return an endpoint's `policy` section: upstream's words for the directions enforced."""
    keeper = state.keeper
    found = keeper.enforcing(endpoint_id) if keeper is not None else frozenset()
    names = {
        frozenset(): "none",
        frozenset({Direction.INGRESS}): "ingress",
        frozenset({Direction.EGRESS}): "egress",
        frozenset(Direction): "both",
    }
    assigned = keeper.assigned(endpoint_id) if keeper is not None else None
    realized = {
        "policy-enabled": names[found],
        "policy-revision": assigned.revision if assigned is not None else 0,
        "id": assigned.policy if assigned is not None else 0,
    }
    return {"realized": realized, "spec": realized}


def peer_text(peers: PeerSet) -> str:
    """Return a peer set as users write labels; ` or ` between its selectors."""
    if not peers.selectors:
        return "(nobody)"
    return " or ".join(sorted(map(_selector_text, peers.selectors)))


def _selector_text(selector: Selector) -> str:
    return ",".join(map(_requirement_text, selector.requirements)) or "(everyone)"


def _requirement_text(requirement: Requirement) -> str:
    values = ",".join(requirement.values)
    match requirement.operator:
        case Operator.IN if len(requirement.values) == 1:
            return f"{requirement.key}={values}"
        case Operator.IN:
            return f"{requirement.key} in ({values})"
        case Operator.NOT_IN:
            return f"{requirement.key} not in ({values})"
        case Operator.EXISTS:
            return requirement.key
        case Operator.DOES_NOT_EXIST:
            return f"!{requirement.key}"


def _policy(key: PolicyKey, held: Held) -> dict[str, Any]:
    return {
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "valid": not held.problems,
        "problems": [str(problem) for problem in held.problems],
        "rules": sum(len(policy.rules) for policy in held.policies),
        **{part: held.body[part] for part in ("spec", "specs") if part in held.body},
    }
