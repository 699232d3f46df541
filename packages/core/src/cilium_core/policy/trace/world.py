# SPDX-License-Identifier: Apache-2.0
"""A cluster as its manifests describe it, fed into the policy engine of the agent.

Each pod and node is a subject; identities are made of the same labels as in a cluster, their
numbers are this process's own. Not thread-safe; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cilium_core.addresses import Address
from cilium_core.errors import FieldError
from cilium_core.identity import LOCAL_SCOPE, MIN_CLUSTER_IDENTITY, Reserved, canonical_key
from cilium_core.labels import LabelSet
from cilium_core.policy import named_ports
from cilium_core.policy.cidr import world
from cilium_core.policy.engine import Engine
from cilium_core.policy.explain import Explanation, nearest
from cilium_core.policy.language import fqdns, parse, prefixes
from cilium_core.policy.language.names import SOURCE as FQDN
from cilium_core.policy.patterns import dns_name, name_pattern
from cilium_core.policy.rules import Direction, Policy
from cilium_core.policy.trace import manifests, parties
from cilium_core.policy.trace.objects import Objects, Problem
from cilium_core.policy.trace.outside import Outside
from cilium_core.policy.trace.parties import Party, Pod
from cilium_core.policy.trace.services import Services

API_SERVICE = "default/kubernetes"
_RESERVED = {f"reserved:{member.label}=;": int(member) for member in Reserved}


class World:
    """Everything that a probe can name, and the engine that judges it.

    `problems` lists the objects that are not valid; they are left out, as the agent would do.
    """

    def __init__(self, bodies: Iterable[Mapping[str, Any]], cluster: str = "default") -> None:
        """Take in the objects, as decoded from JSON; `cluster` is the cluster's name."""
        self.engine = Engine()
        self._numbers: dict[str, int] = {}
        objects = Objects(bodies)
        self.problems = objects.problems
        slices = objects.of(manifests.EndpointSlice)
        self._apiservers = _apiservers(slices)
        self._nodes: dict[str, Party] = {}
        self._pods: dict[str, Pod] = {}
        self._on_host: dict[str, str] = {}  # pods in the network of their node
        self._by_address: dict[Address, Party] = {}
        self._add_nodes(objects)
        self._add_pods(objects, cluster)
        self.services = Services(objects.of(manifests.Service), slices, self._pods.values())
        self.families = tuple(sorted({one.version for one in self._by_address})) or (4, 6)
        policies = self._add_policies(objects, cluster)
        self.outside = Outside(
            (prefix for policy in policies for prefix in prefixes(policy)),
            objects.groups.values(),
            self.dual_stack,
        )
        self._fqdns = frozenset().union(*map(fqdns, policies))

    @property
    def dual_stack(self) -> bool:
        """Whether the cluster has both address families."""
        return len(self.families) > 1

    def pod(self, name: str) -> Party | None:
        """Return the end that a pod of a `namespace/name` is: its own or, maybe, its node's."""
        if name in self._pods:
            return self._pods[name].party
        return self.host(self._on_host[name]) if name in self._on_host else None

    def node(self, name: str) -> Party | None:
        """Return a node's end."""
        return self._nodes.get(name)

    def host(self, name: str) -> Party:
        """Return the host of a node, which the manifests may not describe (or name at all)."""
        return self._nodes.get(name) or parties.unknown_node(name)

    @property
    def apiserver(self) -> Party | None:
        """The API server, when the manifests tell where it is."""
        return self.at(min(self._apiservers, key=str)) if self._apiservers else None

    def at(self, address: Address) -> Party:
        """Return whoever has an address: a pod, a node, or something outside the cluster."""
        found = self._by_address.get(address)
        if found is not None:
            return found
        if address in self._apiservers:
            labels = {**self.outside.exact(address), parties.KUBE_APISERVER: ""}
        else:
            labels = self.outside.labels(address)
        return Party(f"ip:{address}", labels, version=address.version)

    def fqdn(self, name: str) -> Party:
        """Return an address that DNS has given for a name, as toFQDNs rules know it."""
        name = dns_name(name)
        labels = {world(self.families[0], dual_stack=self.dual_stack): ""}
        labels |= {f"{FQDN}{p}": "" for p in self._fqdns if name_pattern(p).fullmatch(name)}
        return Party(f"fqdn:{name}", labels, version=self.families[0])

    def identity(self, labels: LabelSet) -> int:
        """Return the number of the identity with these labels; a new one when there is none."""
        key = canonical_key(labels)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = _RESERVED.get(key) or self._fresh(labels)
            self.engine.set_identity(number, labels)
        return number

    def explain(
        self, subject: Party, direction: Direction, protocol: int, port: int, peer: Party
    ) -> Explanation:
        """Judge one direction of a pod or node. KeyError for an end that is no subject."""
        identity = self.identity(peer.seen_from(subject))
        return self.engine.explain(subject.subject, direction, protocol, port, identity)

    def nearest(
        self, subject: Party, direction: Direction, protocol: int, port: int, peer: Party
    ) -> str:
        """Say which allow rule came nearest to a packet that none allows; empty for none."""
        side = self.engine.side(subject.subject, direction)
        return nearest(side, protocol, port, named_ports.expand(peer.seen_from(subject)))

    def _fresh(self, labels: LabelSet) -> int:
        inside = any(key.startswith("k8s:") for key in labels)
        return len(self._numbers) + (MIN_CLUSTER_IDENTITY if inside else LOCAL_SCOPE)

    def _add_nodes(self, objects: Objects) -> None:
        for node in objects.of(manifests.Node):
            try:
                party, own = parties.node(node, self._apiservers)
            except FieldError as error:
                self.problems.append(Problem(f"Node {node.metadata.name}", error))
                continue
            self._nodes[party.node] = party
            self._by_address.update(dict.fromkeys(own, party))
            labels = {f"k8s:{key}": value for key, value in node.labels.items()}
            self.engine.set_subject(party.subject, {parties.HOST: "", **labels}, on_node=True)

    def _add_pods(self, objects: Objects, cluster: str) -> None:
        namespaces = {one.metadata.name: one.labels for one in objects.of(manifests.Namespace)}
        for found in objects.of(manifests.Pod):
            if found.spec.host_network:
                self._on_host[found.name] = found.spec.node_name
                continue
            try:
                pod = parties.pod(found, namespaces.get(found.namespace, {}), cluster)
            except FieldError as error:
                self.problems.append(Problem(f"Pod {found.name}", error))
                continue
            self._pods[found.name] = pod
            if pod.running:
                self._by_address.update(dict.fromkeys(pod.addresses, pod.party))
            self.identity(pod.party.labels)
            self.engine.set_subject(pod.party.subject, pod.party.labels, pod.ports)

    def _add_policies(self, objects: Objects, cluster: str) -> list[Policy]:
        found = []
        for name, body in objects.policies.items():
            try:
                policies = parse(body, cluster, self.families)
            except FieldError as error:
                self.problems.append(Problem(name, error))
                continue
            self.engine.set_policies(name, policies)
            found += policies
        return found


def _apiservers(slices: Iterable[manifests.EndpointSlice]) -> frozenset[Address]:
    """Return the addresses of the API server, as far as the manifests tell."""
    own = (one for one in slices if one.service == API_SERVICE)
    texts = (text for one in own for endpoint in one.endpoints or [] for text in endpoint.addresses)
    return frozenset(parties.addresses(texts))
