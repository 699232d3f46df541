# SPDX-License-Identifier: Apache-2.0
"""Rules taken apart: one entry for each interval of ports of one protocol.

Named ports become numbers here, protocol ANY with ports becomes the three that have ports, and
peers that are nobody vanish. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from cilium_core.policy.bits import Role, Use
from cilium_core.policy.named_ports import NamedPorts, PortNumber, having
from cilium_core.policy.rules import (
    ALL_PORTS,
    WITH_PORTS,
    Direction,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Rule,
)

NO_PORTS: NamedPorts = {}


class Entry(NamedTuple):
    """Peers (None: everyone) on ports `first` to `last` of a protocol (ANY: of all protocols)."""

    protocol: int
    first: int
    last: int
    peers: PeerSet | None
    role: Role
    rule: Rule

    @property
    def use(self) -> Use | None:
        """The bit that rows need for it, or None for everyone."""
        return None if self.peers is None else Use(self.peers, self.role)


def role_of_rule(rule: Rule) -> Role:
    """Return what the rule does with its peers."""
    if rule.deny:
        return Role.DENY
    return Role.L7 if rule.l7 is not None else Role.ALLOW


def names(policies: Iterable[Policy], direction: Direction) -> frozenset[str]:
    """Return the port names that rules of one direction use."""
    return frozenset(
        port.name
        for policy in policies
        for rule in policy.rules
        if rule.direction is direction
        for port in rule.ports
        if port.name
    )


def entries(policies: Iterable[Policy], direction: Direction, named: NamedPorts) -> list[Entry]:
    """Take the rules of one direction apart, in the order of the policies.

    `named` are the endpoint's own named ports at ingress, those of all its peers at egress. A
    name that nobody has matches nothing.
    """
    return [
        entry
        for policy in policies
        for rule in policy.rules
        if rule.direction is direction and (rule.peers is None or rule.peers.selectors)
        for entry in _of_rule(rule, named)
    ]


def _of_rule(rule: Rule, named: NamedPorts) -> Iterator[Entry]:
    role = role_of_rule(rule)
    if not rule.ports:
        yield Entry(Protocol.ANY, *ALL_PORTS, rule.peers, role, rule)
    for port in sorted(rule.ports, key=_order):
        if port.name:
            for number in sorted(_numbers(port, named)):
                yield Entry(*_at(number), _peers(rule, port.name, number), role, rule)
        else:
            for protocol in _protocols(port):
                yield Entry(protocol, port.first, port.last, rule.peers, role, rule)


def _order(port: PortRange) -> tuple[int, int, int, str]:
    return port.protocol, port.first, port.last, port.name


def _protocols(port: PortRange) -> tuple[int, ...]:
    return WITH_PORTS if port.protocol is Protocol.ANY else (port.protocol,)


def _numbers(port: PortRange, named: Mapping[str, Iterable[PortNumber]]) -> list[PortNumber]:
    wanted = _protocols(port)
    return [number for number in named.get(port.name, ()) if number[0] in wanted]


def _at(number: PortNumber) -> tuple[int, int, int]:
    return number[0], number[1], number[1]


def _peers(rule: Rule, name: str, number: PortNumber) -> PeerSet | None:
    """At ingress the number is the endpoint's own; at egress only peers that have it count."""
    if rule.direction is Direction.INGRESS:
        return rule.peers
    return having(rule.peers, name, *number)
