# SPDX-License-Identifier: Apache-2.0
"""What the stream tells, as plain immutable values. Each has a key; equal values are no news. Pure.

Labels are `source:key=value` texts, sorted; addresses and prefixes are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cilium_agent.model import Endpoint
from cilium_core.labels import LabelSet
from cilium_core.policy.bits import Role, Use, place
from cilium_core.policy.rules import Origin, Rule


@dataclass(frozen=True, slots=True)
class Workload:
    """The controller that a pod belongs to."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class NodeFact:
    """The node itself. `labels` are `key=value`, sorted."""

    name: str
    cluster: str
    labels: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[()]:
        """There is one."""
        return ()


@dataclass(frozen=True, slots=True)
class ClusterNodeFact:
    """A node of the cluster and where its host-network processes are reached."""

    name: str
    address: str

    @property
    def key(self) -> str:
        """Nodes are told apart by name."""
        return self.name


@dataclass(frozen=True, slots=True)
class EndpointFact:
    """A pod's attachment to this node."""

    endpoint_id: int
    namespace: str
    pod: str
    identity: int
    labels: tuple[str, ...]
    addresses: tuple[str, ...]
    workload: Workload | None = None

    @property
    def key(self) -> int:
        """Endpoints are told apart by id."""
        return self.endpoint_id


@dataclass(frozen=True, slots=True)
class IdentityFact:
    """What an identity number stands for."""

    number: int
    labels: tuple[str, ...]

    @property
    def key(self) -> int:
        """Identities are told apart by number."""
        return self.number


@dataclass(frozen=True, slots=True)
class PrefixFact:
    """Who is behind a prefix; a pod's names the pod when it is known."""

    prefix: str
    identity: int
    namespace: str = ""
    pod: str = ""
    workload: Workload | None = None

    @property
    def key(self) -> str:
        """Prefixes are told apart by their text."""
        return self.prefix


@dataclass(frozen=True, slots=True)
class ServiceFact:
    """A load-balanced service, by the number that events carry.

    `frontends` are (address, port, IP protocol).
    """

    number: int
    namespace: str
    name: str
    frontends: tuple[tuple[str, int, int], ...]

    @property
    def key(self) -> int:
        """Services are told apart by number."""
        return self.number


@dataclass(frozen=True, slots=True)
class RuleFact:
    """One rule as rows know it.

    `ports` are (protocol, first, last), none for all; `peers` are (word, mask) of peer-set bits,
    None for everyone.
    """

    direction: int
    deny: bool
    ports: tuple[tuple[int, int, int], ...]
    peers: tuple[tuple[int, int], ...] | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class PolicyFact:
    """The rules of a resolved policy from a revision on. Tell it before the rows are written."""

    number: int
    revision: int
    rules: tuple[RuleFact, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Entries are told apart by number and revision."""
        return self.number, self.revision


Fact = (
    NodeFact | ClusterNodeFact | EndpointFact | IdentityFact | PrefixFact | ServiceFact | PolicyFact
)


def label_texts(labels: LabelSet) -> tuple[str, ...]:
    """Return a label set (`source:key` to value) as sorted texts; an empty value has no `=`."""
    return tuple(f"{key}={labels[key]}" if labels[key] else key for key in sorted(labels))


def of_endpoint(endpoint: Endpoint, workload: Workload | None = None) -> EndpointFact:
    """Return what is told of one of the agent's endpoints."""
    addresses = (endpoint.ipv4, endpoint.ipv6)
    return EndpointFact(
        endpoint.endpoint_id,
        endpoint.pod_namespace,
        endpoint.pod_name,
        endpoint.identity,
        label_texts(endpoint.labels),
        tuple(str(address) for address in addresses if address is not None),
        workload,
    )


def of_policy(
    number: int, revision: int, rules: Iterable[Rule], uses: Mapping[Use, int]
) -> PolicyFact:
    """Return what is told of a resolved policy. `uses` are the engine's bits of peer sets.

    A rule whose peer set has no bit decides nothing and is left out. A named port counts as every
    port of its protocol: what a name stands for differs by endpoint, the bits still tell.
    """
    facts = [
        _of_rule(rule, uses)
        for rule in rules
        if rule.peers is None or Use(rule.peers, _role(rule)) in uses
    ]
    return PolicyFact(number, revision, tuple(facts))


def _role(rule: Rule) -> Role:
    return Role.DENY if rule.deny else Role.L7 if rule.l7 is not None else Role.ALLOW


def _of_rule(rule: Rule, uses: Mapping[Use, int]) -> RuleFact:
    bit = uses[Use(rule.peers, _role(rule))] if rule.peers is not None else None
    return _rule_fact(rule, bit)


@lru_cache(maxsize=1 << 15)  # facts of many revisions share what did not change
def _rule_fact(rule: Rule, bit: int | None) -> RuleFact:
    peers = (place(bit),) if bit is not None else None
    ports = {
        (int(entry.protocol), 0, 65535)
        if entry.name
        else (int(entry.protocol), entry.first, entry.last)
        for entry in rule.ports
    }
    return RuleFact(int(rule.direction), rule.deny, tuple(sorted(ports)), peers, rule.origin)
