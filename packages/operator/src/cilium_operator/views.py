# SPDX-License-Identifier: Apache-2.0
"""What the operator remembers of the objects that it watches: a few fields each.

The indexes hold these instead of whole bodies, so that memory follows the number of objects,
not their size. Immutable values; parsing never fails on odd objects, it leaves fields empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of one version of an object. `created` is RFC 3339 text, which sorts."""

    name: str
    uid: str
    version: str
    created: str


class NodeView(Seen, frozen=True, kw_only=True):
    """A Node: its addresses, taints (as JSON) and whether it says that it has a network."""

    addresses: tuple[str, ...] = ()
    taints: tuple[Mapping[str, Any], ...] = ()
    up_reason: str = ""


class CiliumNodeView(Seen, frozen=True, kw_only=True):
    """A CiliumNode: its pod CIDRs as written and the error that it shows."""

    pod_cidrs: tuple[str, ...] = ()
    error: str = ""


class AgentView(Seen, frozen=True, kw_only=True):
    """An agent's pod: where it was scheduled and whether it is ready."""

    node: str = ""
    ready: bool = False


class ServiceCIDRView(Seen, frozen=True, kw_only=True):
    """A ServiceCIDR: ranges that services get addresses from."""

    cidrs: tuple[str, ...] = ()


def node_view(body: Mapping[str, Any]) -> NodeView:
    """Read a Node."""
    spec, status = _section(body, "spec"), _section(body, "status")
    up = [c for c in status.get("conditions") or () if c.get("type") == "NetworkUnavailable"]
    return NodeView(
        **_seen(body),
        addresses=tuple(
            address.get("address", "")
            for address in status.get("addresses") or ()
            if address.get("type") in ("InternalIP", "ExternalIP")
        ),
        taints=tuple(dict(taint) for taint in spec.get("taints") or ()),
        up_reason=up[0].get("reason", "") if up and up[0].get("status") == "False" else "",
    )


def cilium_node_view(body: Mapping[str, Any]) -> CiliumNodeView:
    """Read a CiliumNode."""
    ipam = _section(_section(body, "spec"), "ipam")
    status = _section(_section(body, "status"), "ipam")
    return CiliumNodeView(
        **_seen(body),
        pod_cidrs=tuple(ipam.get("podCIDRs") or ()),
        error=_section(status, "operator-status").get("error", ""),
    )


def agent_view(body: Mapping[str, Any]) -> AgentView:
    """Read an agent's pod; one that is being deleted is not ready."""
    status = _section(body, "status")
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    leaving = "deletionTimestamp" in _section(body, "metadata")
    return AgentView(
        **_seen(body),
        node=_section(body, "spec").get("nodeName", ""),
        ready=ready and not leaving,
    )


def service_cidr_view(body: Mapping[str, Any]) -> ServiceCIDRView:
    """Read a ServiceCIDR."""
    return ServiceCIDRView(**_seen(body), cidrs=tuple(_section(body, "spec").get("cidrs") or ()))


def _section(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section: Mapping[str, Any] = body.get(key) or {}
    return section


def _seen(body: Mapping[str, Any]) -> dict[str, str]:
    metadata = _section(body, "metadata")
    return {
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "version": metadata.get("resourceVersion", ""),
        "created": metadata.get("creationTimestamp", ""),
    }
