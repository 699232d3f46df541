# SPDX-License-Identifier: Apache-2.0
"""What the policy language says and this version's datapath does not do yet. Pure.

A policy that asks for the first kind is not enforced at all and says so; the second kind is
enforced by refusing what it governs wherever nobody is there to do it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cilium_core.errors import FieldError
from cilium_core.policy.rules import L7Kind, Policy

NOT_ENFORCED = "the host firewall is not available yet; use endpointSelector"
L7_DROPPED = "what application rules govern is dropped on nodes whose proxy does not run"
KAFKA_DROPPED = "connections that Kafka rules govern are dropped: no proxy speaks Kafka yet"


def hints(policies: Iterable[Policy]) -> list[str]:
    """Return what valid policies ask for and do not get everywhere, a sentence each."""
    stated = [rule for policy in policies for rule in policy.rules]
    kinds = {rule.l7.kind for rule in stated if rule.l7 is not None}
    return [
        *([L7_DROPPED] if kinds - {L7Kind.KAFKA} else []),
        *([KAFKA_DROPPED] if L7Kind.KAFKA in kinds else []),
    ]


def unavailable(policies: Iterable[Policy]) -> list[FieldError]:
    """Return why policies cannot be enforced, by field."""
    return [
        FieldError(f"{policy.origin.field}.nodeSelector", NOT_ENFORCED)
        for policy in policies
        if policy.on_nodes
    ]
