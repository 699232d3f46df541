# SPDX-License-Identifier: Apache-2.0
"""The policy language: Kubernetes objects, as decoded from JSON, into `cilium_core.policy.rules`.

`parse` gives all policies of an object or none, `problems` everything that is wrong with it.
"""

from cilium_core.policy.language.cidrs import prefixes
from cilium_core.policy.language.groups import CIDRGroup
from cilium_core.policy.language.names import fqdns
from cilium_core.policy.language.objects import (
    cidr_group,
    is_checked,
    is_policy,
    parse,
    problems,
)

__all__ = [
    "CIDRGroup",
    "cidr_group",
    "fqdns",
    "is_checked",
    "is_policy",
    "parse",
    "prefixes",
    "problems",
]
