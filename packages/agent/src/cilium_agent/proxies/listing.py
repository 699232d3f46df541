# SPDX-License-Identifier: Apache-2.0
"""The rule sets of this node as people look at them. Pure."""

from __future__ import annotations

from typing import Any

from cilium_agent.proxies.encode import name_of
from cilium_agent.proxies.rulesets import RuleSets


def redirects(rule_sets: RuleSets | None) -> list[dict[str, Any]]:
    """Return each rule set by port: whose rules, for which policy numbers, and its state.

    `state` is `in-force`, `pending` (dropped until a proxy has it) or `refused`, with `error`.
    """
    held = rule_sets.all() if rule_sets is not None else []
    return [
        {
            "name": name_of(one.rules),
            "port": one.port,
            "kind": str(one.rules.kind),
            "direction": one.rules.direction.name.lower(),
            "revision": one.revision,
            "state": "in-force" if one.in_force else "refused" if one.error else "pending",
            "error": one.error,
            "policies": sorted({row.policy for row, _ in one.places}),
            "origins": sorted({str(rule.origin) for rule in one.rules.rules}),
        }
        for one in sorted(held, key=lambda one: one.port)
    ]
