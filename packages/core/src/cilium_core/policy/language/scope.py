# SPDX-License-Identifier: Apache-2.0
"""Where a policy stands: its cluster and namespace, and what that adds to its selectors. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cilium_core.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from cilium_core.policy.language import selectors
from cilium_core.policy.language.fields import Field
from cilium_core.policy.rules import Requirement, Selector

_RESERVED = "reserved:"
_INIT = "reserved:init"
_NAMESPACE_KEY = f"k8s:{NAMESPACE}"
_CLUSTER_KEY = f"k8s:{CLUSTER}"

_read = selectors.with_source(selectors.ANY)


@dataclass(frozen=True, slots=True)
class Scope:
    """`namespace` is empty for a clusterwide policy; `families` are the cluster's, 4 and 6.

    `of_init` says that the policy's subject selects pods without labels yet (`reserved:init`).
    """

    cluster: str
    namespace: str = ""
    families: tuple[int, ...] = (4, 6)
    of_init: bool = False


def subject(field: Field, scope: Scope) -> Selector:
    """Return whom a Cilium policy applies to: always inside its own namespace, if it has one.

    A namespace that the user wrote with the source k8s gives way to the policy's own.
    """
    own = {_NAMESPACE_KEY: scope.namespace} if scope.namespace else {}
    return Selector(selectors.requirements(field, _read, own))


def selects_init(subject: Selector) -> bool:
    """Tell whether a subject looks at the label of pods that have no identity yet."""
    return any(one.key == _INIT for one in subject.requirements)


def peer(field: Field, scope: Scope) -> Selector:
    """Return the endpoints that a Cilium policy means by a peer's selector.

    With a `reserved:` label in it, it is taken as it is. Otherwise it means endpoints of this
    cluster, unless it speaks of clusters itself; and of the policy's namespace, unless it speaks
    of namespaces itself (any operator counts). A clusterwide policy means those of any namespace,
    which leaves out hosts and the world.
    """
    found = selectors.requirements(field, _read)
    if any(one.key.startswith(_RESERVED) for one in found):
        return Selector(found)
    added = []
    if not _speaks_of(found, NAMESPACE):
        if not scope.namespace:
            added += [] if scope.of_init else [selectors.exists(_NAMESPACE_KEY)]
        elif not _has_prefix(found, NAMESPACE_LABELS):
            added.append(selectors.equals(_NAMESPACE_KEY, scope.namespace))
    if not _speaks_of(found, CLUSTER):
        added.append(selectors.equals(_CLUSTER_KEY, scope.cluster))
    return selectors.selector(*found, *added)


def _speaks_of(found: Collection[Requirement], key: str) -> bool:
    return any(one.key in (f"k8s:{key}", f"any:{key}") for one in found)


def _has_prefix(found: Collection[Requirement], prefix: str) -> bool:
    return any(one.key.startswith((f"k8s:{prefix}", f"any:{prefix}")) for one in found)
