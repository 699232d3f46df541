# SPDX-License-Identifier: Apache-2.0
"""Named ports: an endpoint's own at ingress, its peers' at egress.

Peers carry theirs in the label `k8s:io.cilium.k8s.named-ports`, one text such as
`dns=53/UDP,http=8080/TCP`. The engine looks at single ports, so it adds a label of its own for
each, `named-port:http=8080/TCP` with an empty value (see `expand`); no object can carry that
source. A rule "to P on port http" becomes, for each number that http has among the known
identities, "to P that also has the label of that number" (see `having`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from cilium_core.labels import LabelSet
from cilium_core.policy.rules import WITH_PORTS, Operator, PeerSet, Protocol, Requirement, Selector

LABEL = "k8s:io.cilium.k8s.named-ports"
SOURCE = "named-port"

PortNumber = tuple[int, int]  # (IP protocol, port)
NamedPorts = Mapping[str, frozenset[PortNumber]]


def parse(text: str) -> dict[str, frozenset[PortNumber]]:
    """Read the label's value; parts that are no `name=number/protocol` are left out."""
    found: dict[str, set[PortNumber]] = {}
    for part in text.split(","):
        name, equals, rest = part.partition("=")
        number, slash, protocol = rest.partition("/")
        known = protocol in Protocol.__members__ and Protocol[protocol] in WITH_PORTS
        if name and equals and slash and known and number.isdecimal() and int(number) <= 65535:
            found.setdefault(name, set()).add((int(Protocol[protocol]), int(number)))
    return {name: frozenset(ports) for name, ports in found.items()}


def render(ports: NamedPorts) -> str:
    """Return the label's value: parts sorted, so that equal ports are equal texts."""
    parts = (
        f"{name}={number}/{Protocol(protocol).name}"
        for name, numbers in ports.items()
        for protocol, number in numbers
    )
    return ",".join(sorted(parts))


def expand(labels: Mapping[str, str]) -> LabelSet:
    """Return the labels plus one for each named port that they tell of."""
    text = labels.get(LABEL)
    if not text:
        return dict(labels)
    extra = {
        _key(name, protocol, number): ""
        for name, ports in parse(text).items()
        for protocol, number in ports
    }
    return {**labels, **extra}


def having(peers: PeerSet | None, name: str, protocol: int, number: int) -> PeerSet:
    """Return the peers whose port `name` is this one; None stands for everyone."""
    needed = Requirement(_key(name, protocol, number), Operator.EXISTS)
    selectors = peers.selectors if peers is not None else (Selector(),)
    return PeerSet(
        frozenset(
            Selector(tuple(sorted((*s.requirements, needed), key=lambda r: r.key)))
            for s in selectors
        )
    )


def _key(name: str, protocol: int, number: int) -> str:
    return f"{SOURCE}:{name}={number}/{Protocol(protocol).name}"
