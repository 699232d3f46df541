# SPDX-License-Identifier: Apache-2.0
"""A case: policies, and a hand-written function that says who still reaches whom.

`{x}`, `{y}`, `{z}` in a policy stand for the full names of the namespaces. An expectation gets
source, target, port and protocol, and speaks for both families.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e.policy.world import Expected, Place

Object = dict[str, Any]
TCP80 = [{"port": "80", "protocol": "TCP"}]
NAMESPACE = "k8s:io.kubernetes.pod.namespace"


@dataclass(frozen=True)
class Case:
    """Policies that are applied together, and what they leave."""

    name: str
    policies: tuple[Object, ...]
    expected: Expected

    def objects(self, namespaces: Mapping[str, str]) -> list[Object]:
        """The policies with the namespaces' full names."""
        text = json.dumps(self.policies)
        for short, name in namespaces.items():
            text = text.replace("{" + short + "}", name)
        found: list[Object] = json.loads(text)
        return found


def np(spec: Object, ns: str = "x", name: str = "case") -> Object:
    """A NetworkPolicy."""
    meta = {"name": name, "namespace": "{" + ns + "}"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": spec,
    }


def cnp(spec: Object, ns: str = "x", name: str = "case") -> Object:
    """A CiliumNetworkPolicy."""
    meta = {"name": name, "namespace": "{" + ns + "}"}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": meta,
        "spec": spec,
    }


def ccnp(spec: Object, name: str = "{x}") -> Object:
    """A CiliumClusterwideNetworkPolicy."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def labels(**values: str) -> Object:
    """A selector."""
    return {"matchLabels": values}


def namespace(short: str) -> Object:
    """A Cilium selector of a whole namespace."""
    return {"matchLabels": {NAMESPACE: "{" + short + "}"}}


def at(place: Place, text: str) -> bool:
    """Tell whether a place is `ns` or `ns/pod`."""
    return text in (place.ns, f"{place.ns}/{place.pod}")


OURS = {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": ["{x}", "{y}", "{z}"]}]}
