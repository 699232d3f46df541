# SPDX-License-Identifier: Apache-2.0
"""The elements of toPorts: ports, and the application rules that go with them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cilium_core.policy.language.fields import NOT_YET, Field, one_of
from cilium_core.policy.language.http import Rule, http_rule
from cilium_core.policy.language.kafka import kafka_rule
from cilium_core.policy.language.names import name_or_pattern, name_pattern
from cilium_core.policy.language.ports import Port, port_list
from cilium_core.policy.rules import Direction, L7Kind, L7Rules, PortRange, Protocol

_EVERYTHING: Rule = ()
_WORDS = {
    L7Kind.HTTP: "HTTP rules",
    L7Kind.KAFKA: "Kafka rules",
    L7Kind.SNI: "server names",
    L7Kind.DNS: "DNS rules",
}
_CARRIERS = {
    L7Kind.HTTP: (Protocol.TCP,),
    L7Kind.KAFKA: (Protocol.TCP,),
    L7Kind.SNI: (Protocol.TCP,),
    L7Kind.DNS: (Protocol.UDP, Protocol.TCP),
}
# For these, the protocol ANY means those that carry them; the others want to be told TCP.
_ANY_WILL_DO = (L7Kind.DNS, L7Kind.SNI)
_UNSUPPORTED = ("terminatingTLS", "originatingTLS", "listener")
_ALLOWED_ON_NODES = "DNS rules at egress are the only application rules there"


@dataclass(frozen=True, slots=True)
class Place:
    """What the rules of a section may hold.

    `everything_else` says that L7 rules must not refuse what no rule names, because the policy
    turns no default deny on in this direction.
    """

    direction: Direction
    deny: bool
    on_nodes: bool = False
    everything_else: bool = False


@dataclass(frozen=True, slots=True)
class Ports:
    """One element of toPorts. Without ports it says nothing."""

    ports: frozenset[PortRange]
    l7: L7Rules | None = None


@dataclass(frozen=True, slots=True)
class _Application:
    kind: L7Kind
    rules: frozenset[Rule]
    field: Field


def port_rule(field: Field, place: Place) -> Ports:
    """Return one element of toPorts."""
    words = "a deny rule takes ports only"
    refused = {name: words if place.deny else NOT_YET for name in _UNSUPPORTED}
    if place.deny:
        refused |= {"rules": words, "serverNames": words}
    known = ("ports",) if place.deny else ("ports", "rules", "serverNames")
    members = field.members(known, refused)
    ports = port_list(members["ports"]) if "ports" in members else []
    found = _application(members, place)
    if found is None:
        return Ports(frozenset(one for port in ports for one in port.ranges()))
    if not ports:
        field.refuse_member("ports", f"is needed: the ports that the {_WORDS[found.kind]} are for")
    carried = frozenset(one for port in ports for one in _carried(port, found.kind))
    if not found.rules:
        return Ports(carried)
    every = {_EVERYTHING} if place.everything_else else set()
    return Ports(carried, L7Rules(found.kind, found.rules | every))


def _application(members: dict[str, Field], place: Place) -> _Application | None:
    found = _rules(members["rules"]) if "rules" in members else None
    if "serverNames" in members:
        if found:
            members["serverNames"].refuse(
                f"not beside rules: the proxy would have to terminate TLS, which is {NOT_YET}"
            )
        found = _server_names(members["serverNames"])
    if not found:
        return None
    if place.direction is Direction.INGRESS and found.kind is L7Kind.DNS:
        found.field.refuse("DNS rules are for egress only")
    elif place.on_nodes and (place.direction is Direction.INGRESS or found.kind is not L7Kind.DNS):
        found.field.refuse(f"not for nodes: {_ALLOWED_ON_NODES}")
    return found


_READERS: dict[str, tuple[L7Kind, Callable[[Field], Rule]]] = {
    "http": (L7Kind.HTTP, http_rule),
    "kafka": (L7Kind.KAFKA, kafka_rule),
    "dns": (L7Kind.DNS, lambda field: tuple(sorted(name_or_pattern(field).items()))),
}


def _rules(field: Field) -> _Application | None:
    members = field.members(_READERS, {name: NOT_YET for name in ("l7proto", "l7")})
    if len(members) > 1:
        field.refuse(f"only one of {one_of(members)}")
    found = []
    for name, member in members.items():
        kind, read = _READERS[name]
        found.append(_Application(kind, frozenset(map(read, member.items())), member))
    return found[0] if found else None


def _server_names(field: Field) -> _Application:
    items = field.items()
    if not items:
        field.refuse("at least one name is needed")
    names = [name for item in items if (name := name_pattern(item))]
    return _Application(L7Kind.SNI, frozenset((("name", name),) for name in names), field)


def _carried(port: Port, kind: L7Kind) -> list[PortRange]:
    """Return the ranges that can carry the rules; complain when the port itself cannot."""
    carriers = _CARRIERS[kind]
    any_will_do = kind in _ANY_WILL_DO
    if port.protocol not in carriers and not (any_will_do and port.protocol is Protocol.ANY):
        words = [*(one.name for one in carriers), *(["ANY"] if any_will_do else [])]
        port.field.refuse_member(
            "protocol", f"{_WORDS[kind]} go over {one_of(words)}, not over {port.protocol.name}"
        )
    if port.every_port:
        port.field.refuse_member("port", f"{_WORDS[kind]} need a port that is not 0")
    elif kind is L7Kind.DNS and port.ports[0] != port.ports[1] and not port.name:
        port.field.refuse_member("endPort", "DNS rules take single ports, no ranges")
    return port.ranges(carriers)
