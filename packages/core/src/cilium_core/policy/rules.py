# SPDX-License-Identifier: Apache-2.0
"""What a policy says once it is parsed: the one form that all three kinds of object become.

Every peer is a set of label selectors over identities. Entities, CIDRs and nodes become selectors
too (`reserved:world`, `cidr:10.0.0.0/8`), so the engine knows nothing but labels, identities,
ports and verdicts. Values are immutable and hashable: equal ones are the same rule. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

ALL_PORTS = (0, 65535)


class Direction(IntEnum):
    """As seen from the endpoint that enforces; the numbers are those of maps and events."""

    INGRESS = 1
    EGRESS = 2


class Protocol(IntEnum):
    """IP protocol numbers that policies name; ANY stands for all of them."""

    ANY = 0
    ICMP = 1
    IGMP = 2
    TCP = 6
    UDP = 17
    ICMPV6 = 58
    VRRP = 112
    SCTP = 132


WITH_PORTS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


class Operator(StrEnum):
    """How a requirement looks at a label's value."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `key` is `source:key`; the source `any` matches every source.

    `NotIn` and `DoesNotExist` hold when the label is absent, as in Kubernetes. `values` is sorted.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a label set (`source:key` to value) meets the condition."""
        found = _values(labels, self.key)
        match self.operator:
            case Operator.IN:
                return any(value in self.values for value in found)
            case Operator.NOT_IN:
                return all(value not in self.values for value in found)
            case Operator.EXISTS:
                return bool(found)
            case Operator.DOES_NOT_EXIST:
                return not found


def _values(labels: Mapping[str, str], key: str) -> list[str]:
    source, _, name = key.partition(":")
    if source != "any":
        return [labels[key]] if key in labels else []
    return [value for full, value in labels.items() if full.partition(":")[2] == name]


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its requirements must hold (sorted by key); without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an identity's label set is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class PeerSet:
    """The peers of one rule: whoever any of the selectors selects; without any, nobody."""

    selectors: frozenset[Selector]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an identity's label set is in the set."""
        return any(selector.matches(labels) for selector in self.selectors)


@dataclass(frozen=True, slots=True)
class PortRange:
    """A protocol with ports first to last; for ICMP and ICMPv6 the message type stands there.

    Protocol ANY with ports means TCP, UDP and SCTP. With a `name` the numbers are those of the
    container port of that name: the enforcing endpoint's at ingress, the peer's at egress.
    """

    protocol: Protocol
    first: int = ALL_PORTS[0]
    last: int = ALL_PORTS[1]
    name: str = ""


class L7Kind(StrEnum):
    """The application protocol that L7 rules speak."""

    HTTP = "http"
    DNS = "dns"
    KAFKA = "kafka"
    SNI = "sni"


@dataclass(frozen=True, slots=True)
class L7Rules:
    """Application rules of one kind. Each rule is its fields as sorted (name, value) pairs.

    Lists (headers) are tuples. A rule without fields, `()`, takes everything: visibility only.
    """

    kind: L7Kind
    rules: frozenset[tuple[tuple[str, object], ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Which rule of which object: what `decided_by`, flows and metrics name.

    `kind` is NetworkPolicy, CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy; `field` is the
    path of the rule inside it, such as `spec.ingress[0]`.
    """

    kind: str
    namespace: str
    name: str
    field: str = ""

    def __str__(self) -> str:
        """Return `Kind namespace/name field`, without the parts that are empty."""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name} {self.field}".rstrip()


@dataclass(frozen=True, slots=True)
class Rule:
    """One statement: these peers on these ports are allowed, denied, or taken to L7 rules.

    `peers` None is everyone, known identity or not. `ports` empty is every protocol and port
    (with L7 rules there always are ports).
    """

    direction: Direction
    deny: bool
    peers: PeerSet | None
    ports: frozenset[PortRange]
    l7: L7Rules | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Policy:
    """One `spec`: whom it selects, what it turns to default deny, and its rules.

    `subject` includes the namespace that the object is in. With `on_nodes` it selects nodes (host
    firewall) instead of endpoints. A policy without rules may still turn default deny on.
    `labels` (`source:key=value`) and `log` are the user's own words for flows.
    """

    origin: Origin
    subject: Selector
    default_deny: frozenset[Direction]
    rules: tuple[Rule, ...]
    on_nodes: bool = False
    labels: tuple[str, ...] = ()
    log: str = ""
