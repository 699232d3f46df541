# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy of networking.k8s.io/v1. Pure.

Here an empty `from` or `to` is everyone, an element `{}` allows everything, and which directions
are denied by default is said by policyTypes; a section that they leave out has no effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cilium_core.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from cilium_core.policy.language import cidrs, selectors
from cilium_core.policy.language.elements import peer_set
from cilium_core.policy.language.fields import Field
from cilium_core.policy.language.ports import LAST_PORT, port_name
from cilium_core.policy.language.scope import Scope
from cilium_core.policy.rules import (
    ALL_PORTS,
    Direction,
    Origin,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)

_TYPES = {"Ingress": Direction.INGRESS, "Egress": Direction.EGRESS}
_SECTIONS = {"ingress": Direction.INGRESS, "egress": Direction.EGRESS}
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_NAMESPACE_KEY = f"k8s:{NAMESPACE}"
_CLUSTER_KEY = f"k8s:{CLUSTER}"

_pod_key = selectors.kubernetes()
_namespace_key = selectors.kubernetes(f"{NAMESPACE_LABELS}.")


def policies(members: dict[str, Field], scope: Scope, origin: Origin) -> Iterator[Policy]:
    """Yield the policy of `spec`."""
    field = members["spec"]
    members = field.members(("podSelector", "policyTypes", *_SECTIONS))
    pods = members.get("podSelector") or field.child("podSelector", {})
    own = {_NAMESPACE_KEY: scope.namespace}
    sections = {name: members[name].items() for name in _SECTIONS if name in members}
    denied = _types(members.get("policyTypes"), sections)
    rules: list[Rule] = []
    for name, items in sections.items():
        for item in items:
            found = _rule(item, _SECTIONS[name], scope, replace(origin, field=item.path))
            rules += [found] if _SECTIONS[name] in denied else []
    yield Policy(
        origin=replace(origin, field=field.path),
        subject=Selector(selectors.requirements(pods, _pod_key, own)),
        default_deny=denied,
        rules=tuple(rules),
    )


def _types(field: Field | None, sections: dict[str, list[Field]]) -> frozenset[Direction]:
    items = field.items() if field else []
    if not items:
        egress = {Direction.EGRESS} if sections.get("egress") else set()
        return frozenset({Direction.INGRESS} | egress)
    return frozenset(_TYPES[word] for item in items if (word := item.choice(tuple(_TYPES))))


def _rule(field: Field, direction: Direction, scope: Scope, origin: Origin) -> Rule:
    name = _PEERS[direction]
    members = field.members((name, "ports"))
    items = members[name].items() if name in members else []
    ports = members["ports"].items() if "ports" in members else []
    found = [one for item in items for one in _peer(item, scope)]
    return Rule(
        direction=direction,
        deny=False,
        peers=peer_set(found) if items else None,
        ports=frozenset(port for item in ports if (port := _port(item))),
        l7=None,
        origin=origin,
    )


def _peer(field: Field, scope: Scope) -> tuple[Selector, ...]:
    if not field.is_object():
        return ()
    members = field.members(("podSelector", "namespaceSelector", "ipBlock"))
    if not members:
        field.refuse("at least one of podSelector, namespaceSelector and ipBlock is needed")
        return ()
    if "ipBlock" not in members:
        return (_pods(members, scope),)
    if len(members) > 1:
        field.refuse("ipBlock stands alone, not beside podSelector or namespaceSelector")
    block = members["ipBlock"].members(("cidr", "except"))
    if "cidr" not in block:
        members["ipBlock"].refuse_member("cidr")
        return ()
    return cidrs.ip_block(block, scope.families)


def _pods(members: dict[str, Field], scope: Scope) -> Selector:
    found: list[Requirement] = []
    inside = "namespaceSelector" not in members
    fixed = {_NAMESPACE_KEY: scope.namespace} if inside else {}
    if "podSelector" in members:
        found += selectors.requirements(members["podSelector"], _pod_key, fixed)
    if not inside:
        spaces = selectors.requirements(members["namespaceSelector"], _namespace_key)
        found += spaces or [selectors.exists(_NAMESPACE_KEY)]
    if all(one.key != _CLUSTER_KEY for one in found):
        found.append(selectors.equals(_CLUSTER_KEY, scope.cluster))
    return selectors.selector(*found)


def _port(field: Field) -> PortRange | None:
    members = field.members(("port", "endPort", "protocol"))
    word = members["protocol"].choice(("TCP", "UDP", "SCTP")) if "protocol" in members else "TCP"
    name, ports = "", ALL_PORTS
    if "port" in members and isinstance(members["port"].value, str):
        name = _name(members["port"]) or ""
    elif "port" in members:
        number = members["port"].integer(1, LAST_PORT)
        ports = (number or 1, number or 1)
    if "endPort" in members:
        ports = _range(members["endPort"], ports)
    return PortRange(Protocol[word], *ports, name) if word else None


def _name(field: Field) -> str | None:
    text = str(field.value)
    if text.isdecimal():
        field.refuse("a text here is a port's name; write a number without quotes")
        return None
    return port_name(field, text, "use the name of a container port")


def _range(field: Field, ports: tuple[int, int]) -> tuple[int, int]:
    end = field.integer(1, LAST_PORT)
    if ports == ALL_PORTS:
        field.refuse("only beside a port that is a number")
    elif end is not None and end < ports[0]:
        field.refuse(f"{end} is before the port {ports[0]}")
    return ports[0], end or ports[1]
