# SPDX-License-Identifier: Apache-2.0
"""From a Kubernetes object to policies: which kind it is, and all or nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cilium_core.errors import FieldError
from cilium_core.policy.language import cidrs, cilium, kubernetes
from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.language.groups import CIDRGroup, group_labels
from cilium_core.policy.language.scope import Scope
from cilium_core.policy.language.selectors import is_object_name
from cilium_core.policy.rules import Origin, Policy

BOTH_FAMILIES = (4, 6)
GROUP_KIND = "CiliumCIDRGroup"

_CILIUM = "cilium.io/v2"
_KUBERNETES = "networking.k8s.io/v1"
_ROOT = ("apiVersion", "kind", "metadata", "status")


class _Kind(NamedTuple):
    api: str
    specs: tuple[str, ...]
    namespaced: bool
    read: Callable[[dict[str, Field], Scope, Origin], Iterator[Policy]]


_KINDS = {
    "NetworkPolicy": _Kind(_KUBERNETES, ("spec",), True, kubernetes.policies),
    "CiliumNetworkPolicy": _Kind(_CILIUM, ("spec", "specs"), True, cilium.policies),
    cilium.CLUSTERWIDE: _Kind(_CILIUM, ("spec", "specs"), False, cilium.policies),
}


def parse(
    obj: Mapping[str, Any], cluster: str, families: tuple[int, ...] = BOTH_FAMILIES
) -> list[Policy]:
    """Return the policies of one object, as decoded from JSON: one for each `spec`.

    `cluster` is this cluster's name, `families` what addresses it has (4, 6 or both). FieldError
    for the first thing that is wrong; then there is no policy at all. See `problems` for the rest.
    """
    errors: list[FieldError] = []
    found = _policies(obj, cluster, families, errors)
    if errors:
        raise errors[0]
    return found


def problems(obj: Mapping[str, Any]) -> list[FieldError]:
    """Return everything that is wrong with a policy or a CIDR group; nothing when it is valid."""
    errors: list[FieldError] = []
    if isinstance(obj, Mapping) and obj.get("kind") == GROUP_KIND:
        _group(obj, errors)
    else:
        _policies(obj, "default", BOTH_FAMILIES, errors)
    return errors


def cidr_group(obj: Mapping[str, Any]) -> CIDRGroup:
    """Return a CiliumCIDRGroup, as decoded from JSON. FieldError for the first wrong thing."""
    errors: list[FieldError] = []
    found = _group(obj, errors)
    if errors or found is None:
        raise errors[0]
    return found


def is_policy(obj: Mapping[str, Any]) -> bool:
    """Tell whether an object is one that `parse` reads, by its kind."""
    kind = _KINDS.get(str(obj.get("kind")))
    return kind is not None and obj.get("apiVersion") == kind.api


def is_checked(obj: Mapping[str, Any]) -> bool:
    """Tell whether `problems` has something to say: policies, CIDR groups, and near misses.

    A near miss is of one of their API groups, and differs by version or by capital letters only.
    """
    group = str(obj.get("apiVersion")).partition("/")[0]
    kind = str(obj.get("kind")).lower()
    if kind == GROUP_KIND.lower():
        return group == "cilium.io"
    return any(
        name.lower() == kind and one.api.startswith(f"{group}/") for name, one in _KINDS.items()
    )


def _policies(
    obj: object, cluster: str, families: tuple[int, ...], errors: list[FieldError]
) -> list[Policy]:
    root = Field(obj, "", errors)
    if not isinstance(obj, Mapping):
        errors.append(FieldError("object", f"an object is needed, not {shown(obj)}"))
        return []
    name = root.child("kind", obj.get("kind")).choice(tuple(_KINDS))
    if name is None:
        return []
    kind = _KINDS[name]
    root.child("apiVersion", obj.get("apiVersion")).choice((kind.api,))
    members = root.members((*_ROOT, *kind.specs))
    origin = _origin(root, members, name, kind.namespaced)
    if not set(kind.specs) & set(members):
        root.refuse_member(kind.specs[0])
        return []
    scope = Scope(cluster, origin.namespace, families)
    return list(kind.read(members, scope, origin))


def _origin(root: Field, members: dict[str, Field], kind: str, namespaced: bool) -> Origin:
    metadata = members.get("metadata") or root.child("metadata", {})
    if not metadata.is_object():
        return Origin(kind, "", "")
    entries = metadata.entries()
    name = _name(metadata.child("name", entries.get("name", "")))
    namespace = _name(metadata.child("namespace", entries.get("namespace") or "default"))
    return Origin(kind, namespace if namespaced else "", name)


def _name(field: Field) -> str:
    text = field.filled()
    if text and not is_object_name(text):
        field.refuse(f"{shown(text)} is no name: small letters, digits, '-' and '.'")
    return text or ""


def _group(obj: object, errors: list[FieldError]) -> CIDRGroup | None:
    root = Field(obj, "", errors)
    if not isinstance(obj, Mapping):
        errors.append(FieldError("object", f"an object is needed, not {shown(obj)}"))
        return None
    root.child("kind", obj.get("kind")).choice((GROUP_KIND,))
    root.child("apiVersion", obj.get("apiVersion")).choice((_CILIUM,))
    members = root.members((*_ROOT, "spec"))
    origin = _origin(root, members, GROUP_KIND, namespaced=False)
    spec = members.get("spec") or root.child("spec", {})
    listed = spec.members(("externalCIDRs",)).get("externalCIDRs")
    if listed is None:
        spec.refuse_member("externalCIDRs")
        return None
    metadata = members.get("metadata") or root.child("metadata", {})
    entries = metadata.value if isinstance(metadata.value, Mapping) else {}
    labels = metadata.child("labels", entries.get("labels") or {})
    texts = {key: labels.key(key, raw).text() for key, raw in labels.entries().items()}
    found = [cidrs.network(item, bare=True) for item in listed.items()]
    return CIDRGroup(
        name=origin.name,
        labels=group_labels(origin.name, {key: text or "" for key, text in texts.items()}),
        prefixes=frozenset(one for one in found if one),
    )
