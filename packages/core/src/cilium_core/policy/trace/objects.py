# SPDX-License-Identifier: Apache-2.0
"""Sorts manifests by kind and reads them; what is not valid is noted and left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from cilium_core.errors import FieldError
from cilium_core.policy.language import CIDRGroup, cidr_group, is_policy
from cilium_core.policy.trace import manifests
from cilium_core.policy.trace.manifests import Manifest

_APIS: dict[tuple[str, str], type[Manifest]] = {
    ("v1", "Namespace"): manifests.Namespace,
    ("v1", "Node"): manifests.Node,
    ("v1", "Pod"): manifests.Pod,
    ("v1", "Service"): manifests.Service,
    ("discovery.k8s.io/v1", "EndpointSlice"): manifests.EndpointSlice,
}
_GROUP = ("cilium.io/v2", "CiliumCIDRGroup")
Kind = TypeVar("Kind", bound=Manifest)


class Problem(NamedTuple):
    """An object that is not valid, as `Kind namespace/name`, and why."""

    object: str
    error: FieldError

    def __str__(self) -> str:
        """Return `Kind namespace/name: field: reason`."""
        return f"{self.object}: {self.error}"


class Objects:
    """Manifests by kind; of two with the same name the later one counts, as when applied."""

    def __init__(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Sort objects, as decoded from JSON. Kinds that are no business of policy are ignored."""
        self.problems: list[Problem] = []
        self.policies: dict[str, Mapping[str, Any]] = {}
        self.groups: dict[str, CIDRGroup] = {}
        self._found: dict[type[Manifest], dict[str, Manifest]] = {}
        for body in bodies:
            try:
                self._add(body)
            except FieldError as error:
                self.problems.append(Problem(title(body), error))

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the objects of one kind."""
        return [one for one in self._found.get(kind, {}).values() if isinstance(one, kind)]

    def _add(self, body: Mapping[str, Any]) -> None:
        key = (str(body.get("apiVersion")), str(body.get("kind")))
        if is_policy(body):
            self.policies[title(body)] = body
        elif key == _GROUP:
            group = cidr_group(body)
            self.groups[group.name] = group
        elif kind := _APIS.get(key):
            one = manifests.read(body, kind)
            self._found.setdefault(kind, {})[one.name] = one


def title(body: Mapping[str, Any]) -> str:
    """Return `Kind namespace/name` of an object that may not be valid."""
    metadata = body.get("metadata")
    names = metadata if isinstance(metadata, Mapping) else {}
    parts = (names.get("namespace"), names.get("name"))
    return f"{body.get('kind')} {'/'.join(str(part) for part in parts if part)}".rstrip()
