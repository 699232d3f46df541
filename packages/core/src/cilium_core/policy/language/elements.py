# SPDX-License-Identifier: Apache-2.0
"""One element of ingress, ingressDeny, egress or egressDeny: its peers, its ports, its rules. Pure.

One peer field at most has items, as upstream has it; the peers are their union. What is absent and
what is empty differ:

- no peer field, but ports: everyone on those ports;
- a peer field that is an empty list: nobody, whatever the others say;
- neither peers nor ports (`{}`): nobody. It is there to turn default deny on;
- toPorts and icmps absent or empty: every port. An element of toPorts without ports: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cilium_core.policy.language import cidrs, entities, names
from cilium_core.policy.language.fields import NOT_YET, Field, one_of
from cilium_core.policy.language.icmp import icmp_types
from cilium_core.policy.language.l7 import Place, Ports, port_rule
from cilium_core.policy.language.scope import Scope, peer
from cilium_core.policy.rules import Direction, Origin, PeerSet, Rule, Selector

_PREFIX = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_READERS: dict[str, Callable[[Field, Scope], tuple[Selector, ...]]] = {
    "Endpoints": lambda field, scope: (peer(field, scope),),
    "Entities": lambda field, scope: entities.entity(field, scope.cluster),
    "CIDR": lambda field, scope: cidrs.plain(field, scope.families),
    "CIDRSet": lambda field, scope: cidrs.with_exceptions(field, scope.families),
}
_FQDNS = "toFQDNs"
_MODES = ("disabled", "required", "test-always-fail")


def rules(field: Field, place: Place, scope: Scope, origin: Origin) -> Iterator[Rule]:
    """Yield what one element states: a rule for all its ports, and one for each with L7 rules."""
    prefix = _PREFIX[place.direction]
    peer_fields = {f"{prefix}{name}": read for name, read in _READERS.items()}
    if place.direction is Direction.EGRESS and not place.deny:
        peer_fields[_FQDNS] = lambda field, _scope: names.fqdn(field)
    known = [*peer_fields, "toPorts", "icmps"]
    if not place.deny:
        known.append("authentication")
    members = field.members(known, _refused(prefix, place))
    if "authentication" in members:
        _authentication(members["authentication"])
    stated = {name: members[name].items() for name in peer_fields if name in members}
    _refuse_combination(members, [name for name, items in stated.items() if items])
    peers = [
        one
        for name, items in stated.items()
        for item in items
        for one in peer_fields[name](item, scope)
    ]
    ports = list(_ports(members, place))
    if not all(stated.values()) or not (stated or ports):
        return
    for one in _merged(ports) if ports else [Ports(frozenset())]:
        yield Rule(
            direction=place.direction,
            deny=place.deny,
            peers=peer_set(peers) if stated else None,
            ports=one.ports,
            l7=one.l7,
            origin=origin,
        )


def _refuse_combination(members: dict[str, Field], filled: list[str]) -> None:
    """Complain about all peer fields but the first, as upstream does: are they ANDed or ORed?"""
    for name in filled[1:]:
        members[name].refuse(f"not beside {filled[0]}; write a rule of its own for it")


def peer_set(found: Iterable[Selector]) -> PeerSet | None:
    """Return the union of selectors; None, everyone, if one of them selects everything."""
    selectors = frozenset(found)
    return None if entities.EVERYTHING in selectors else PeerSet(selectors)


def _refused(prefix: str, place: Place) -> dict[str, str]:
    found = {f"{prefix}{name}": NOT_YET for name in ("Nodes", "Groups")}
    found[f"{prefix}Requires"] = (
        f"is no longer part of the language; put the labels into {prefix}Endpoints"
    )
    if place.direction is Direction.EGRESS:
        found["toServices"] = NOT_YET
        if place.deny:
            found[_FQDNS] = "a deny rule takes no names; use toCIDR"
    if place.deny:
        found["authentication"] = "a deny rule takes none"
    return found


def _ports(members: dict[str, Field], place: Place) -> Iterator[Ports]:
    elements = members["toPorts"].items() if "toPorts" in members else []
    types = members["icmps"].items() if "icmps" in members else []
    if elements and types:
        members["icmps"].refuse("not beside toPorts; write a rule of its own for ICMP")
    for element in elements:
        yield port_rule(element, place)
    for element in types:
        yield Ports(frozenset(icmp_types(element)))


def _merged(found: list[Ports]) -> Iterator[Ports]:
    """Yield one for all ports without L7 rules, then those with; none for no ports at all."""
    plain = frozenset(port for one in found if one.l7 is None for port in one.ports)
    if plain:
        yield Ports(plain)
    for one in found:
        if one.l7 is not None and one.ports:
            yield one


def _authentication(field: Field) -> None:
    members = field.members(("mode",))
    if "mode" not in members:
        field.refuse_member("mode", f"is needed: {one_of(_MODES)}")
    elif (mode := members["mode"].choice(_MODES)) not in (None, "disabled"):
        members["mode"].refuse(f"{mode} is {NOT_YET}; leave it out or use disabled")
