# SPDX-License-Identifier: Apache-2.0
"""What the policy language says and this version's datapath does not do yet. Pure.

A policy that asks for the first kind is not enforced at all and says so; the second kind is
enforced by refusing what it governs wherever nobody is there to do it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cilium_core.errors import FieldError
from cilium_core.policy.rules import Policy

NOT_ENFORCED = "the host firewall is not available yet; use endpointSelector"
L7_DROPPED = "what application rules govern is dropped on nodes whose proxy does not run"


def unavailable(policies: Iterable[Policy]) -> list[FieldError]:
    """Return why policies cannot be enforced, by field."""
    return [
        FieldError(f"{policy.origin.field}.nodeSelector", NOT_ENFORCED)
        for policy in policies
        if policy.on_nodes
    ]


def drops_l7(policies: Iterable[Policy]) -> bool:
    """Tell whether policies have application rules, whose connections need a proxy."""
    return any(rule.l7 is not None for policy in policies for rule in policy.rules)
