# SPDX-License-Identifier: Apache-2.0
"""What a node's maps must say, worked out afresh from the API server's objects, and what differs.

Numbers of policies, bits and prefixes are each agent's own, so meanings are compared: the verdict
of the kernel's tables, by the kernel's own way of reading them, against that of the rules
themselves, for each endpoint, direction and identity, at every port where either changes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from cilium_core.addresses import Address, Network
from cilium_core.errors import FieldError
from cilium_core.identity import Reserved, is_local_scope
from cilium_core.labels import LabelSet
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.decide import decide
from cilium_core.policy.language import CIDRGroup, cidr_group, is_policy, parse, prefixes
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.trace import World
from cilium_core.policy.trace.parties import Party
from e2e.churn.maps import LocalEndpoint, NodeMaps, Place

Json = Mapping[str, Any]
FAMILIES = (4, 6)
LAST_PORT = 65535
# Protocols that rules may name, and one that none does.
PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.ICMP, Protocol.ICMPV6, 47)
ENDED = ("Succeeded", "Failed")


class Truth:
    """The cluster as its objects describe it. `waits` says what is still on its way."""

    def __init__(self, objects: Sequence[Json], cluster: str) -> None:
        """Take in objects as the API server lists them; `cluster` is the cluster's name."""
        self.world = World(objects, cluster)
        of = {kind: [o for o in objects if o["kind"] == kind] for kind in KINDS}
        self.identities: dict[int, LabelSet] = {
            int(item["metadata"]["name"]): item["security-labels"] for item in of["CiliumIdentity"]
        }
        for labels in self.identities.values():
            self.world.identity(labels)  # its named ports count, whether a pod has it or not
        self._nodes = {item["metadata"]["name"]: _addresses(item) for item in of["CiliumNode"]}
        groups = [cidr_group(item) for item in of["CiliumCIDRGroup"]]
        self._groups: list[CIDRGroup] = groups
        self._endpoints = {_name(item): item["status"] for item in of["CiliumEndpoint"]}
        self._pods = [item for item in of["Pod"] if _has_network(item)]
        self._servers = [
            ip_address(text)
            for item in of["EndpointSlice"]
            if _name(item)[0] == "default" and _name(item)[1].startswith("kubernetes")
            for endpoint in item["endpoints"]
            for text in endpoint["addresses"]
        ]
        on_nodes = {address for own in self._nodes.values() for address in own}
        self._outside = {ip_network(one) for one in self._servers if one not in on_nodes}
        named = _named(objects, cluster) | {p for g in groups for p in g.prefixes}
        self._prefixes = named | self._outside
        self.waits = [*self._waits(of["Pod"])]

    def differences(self, node: str, maps: NodeMaps) -> list[str]:
        """Where a node's maps do not say what they must; a line each."""
        found = [*self._endpoint_rows(node, maps), *self._ipcache(node, maps)]
        found += self._stale(node, maps)
        judged = set()
        for pod in self._pods:
            row = maps.endpoints.get(ip_address(pod["status"]["podIPs"][0]["ip"]))
            if pod["spec"]["nodeName"] == node and row is not None and row.policy not in judged:
                judged.add(row.policy)
                found += self._verdicts(node, maps, row, self._party(pod))
        return [f"{node}: {text}" for text in found]

    def _waits(self, pods: Sequence[Json]) -> Iterator[str]:
        yield from (f"{p.object}: {p.error}" for p in self.world.problems)
        for pod in pods:
            if pod["metadata"].get("deletionTimestamp"):
                yield f"pod {_name(pod)} is leaving"
            elif pod["status"]["phase"] == "Pending":
                yield f"pod {_name(pod)} is starting"
        for pod in self._pods:
            if _name(pod) not in self._endpoints:
                yield f"pod {_name(pod)} has no CiliumEndpoint"
        living = {_name(pod) for pod in self._pods}
        for name in self._endpoints.keys() - living:
            yield f"CiliumEndpoint {name} has no pod"

    def _party(self, pod: Json) -> Party:
        party = self.world.pod("/".join(_name(pod)))
        assert party is not None, _name(pod)
        return party

    def _endpoint_rows(self, node: str, maps: NodeMaps) -> Iterator[str]:
        wanted: dict[Address, Json] = {}
        for pod in self._pods:
            if pod["spec"]["nodeName"] == node:
                wanted |= {ip_address(entry["ip"]): pod for entry in pod["status"]["podIPs"]}
        for address in wanted.keys() - maps.endpoints.keys():
            yield f"no endpoint row for {address} of {_name(wanted[address])}"
        for address in maps.endpoints.keys() - wanted.keys():
            yield f"endpoint row {address} is no pod's: {maps.endpoints[address]}"
        for address in wanted.keys() & maps.endpoints.keys():
            yield from self._endpoint_row(wanted[address], maps.endpoints[address])
        for address in self._nodes[node]:
            if address not in maps.hosts:
                yield f"no host row for {address}"

    def _endpoint_row(self, pod: Json, row: LocalEndpoint) -> Iterator[str]:
        labels = self.identities.get(row.identity)
        if labels != self._party(pod).labels:
            yield f"{_name(pod)} has identity {row.identity} of {labels}"
        status = self._endpoints.get(_name(pod), {})
        if (status.get("id"), status.get("identity", {}).get("id")) != row[:2]:
            yield f"{_name(pod)} has {row}, and another CiliumEndpoint"
        if not row.policy:
            yield f"{_name(pod)} enforces no policy"

    def _ipcache(self, node: str, maps: NodeMaps) -> Iterator[str]:
        wanted = self._places(node, maps)
        for prefix in wanted.keys() - maps.ipcache.keys():
            yield f"no ipcache row for {prefix}: {wanted[prefix]}"
        for prefix in maps.ipcache.keys() - wanted.keys():
            yield f"ipcache row {prefix} is nobody's: {maps.ipcache[prefix]}"
        for prefix in wanted.keys() & maps.ipcache.keys():
            held, place = maps.ipcache[prefix], wanted[prefix]
            is_right = is_local_scope(held.identity) and not held.tunnel
            if held != place if place is not None else not is_right:
                yield f"ipcache row {prefix} is {held}, not {place}"
        local = [p.identity for p in maps.ipcache.values() if is_local_scope(p.identity)]
        if len(set(local)) != len(local):
            yield f"two prefixes share an identity: {sorted(local)}"

    def _places(self, node: str, maps: NodeMaps) -> dict[Network, Place | None]:
        """Every prefix with its place; None stands for an identity of the node's own."""
        found: dict[Network, Place | None] = {
            ip_network("0.0.0.0/0"): Place(Reserved.WORLD_IPV4),
            ip_network("::/0"): Place(Reserved.WORLD_IPV6),
            **dict.fromkeys(self._prefixes),
        }
        for name, addresses in self._nodes.items():
            for address, kind in addresses.items() if name != node else ():
                tunnel = self._tunnel(name) if kind != "InternalIP" else None
                found[ip_network(address)] = Place(Reserved.REMOTE_NODE, tunnel)
        on_nodes = {ip_network(one) for one in self._servers} - self._outside
        found |= dict.fromkeys(on_nodes, Place(Reserved.KUBE_APISERVER))
        found |= {ip_network(address): Place(Reserved.HOST) for address in maps.hosts}
        for pod in self._pods:
            home = pod["spec"]["nodeName"]
            number = self._endpoints.get(_name(pod), {}).get("identity", {}).get("id", 0)
            place = Place(number, self._tunnel(home) if home != node else None)
            for entry in pod["status"]["podIPs"]:
                found[ip_network(entry["ip"])] = place
        return found

    def _tunnel(self, node: str) -> Address:
        """The address that other nodes tunnel to: the first internal one, IPv4 before IPv6."""
        own = [a for a, kind in self._nodes[node].items() if kind == "InternalIP"]
        return min(own, key=lambda address: address.version)

    def _stale(self, node: str, maps: NodeMaps) -> Iterator[str]:
        known = {*self.identities, *Reserved, *(p.identity for p in maps.ipcache.values())}
        unknown = {identity for identity, _ in maps.tables.bits} - known
        # A policy may name the very address of a node or a pod: its identity is not to be seen.
        places = self._places(node, maps)
        hidden = [prefix for prefix in self._prefixes if places[prefix] is not None]
        local = {number for number in unknown if is_local_scope(number)}
        for number in unknown if len(local) > len(hidden) else unknown - local:
            yield f"bits of identity {number}, which nobody has"
        used = {row.policy for row in maps.endpoints.values()}
        for number in {key.policy for key in maps.tables.rows} ^ used:
            yield f"policy {number} has rows or endpoints, but not both"

    def _verdicts(
        self, node: str, maps: NodeMaps, row: LocalEndpoint, party: Party
    ) -> Iterator[str]:
        peers = {n: self.world.identity(labels) for n, labels in self._peers(node, maps)}
        for direction in Direction:
            for protocol, port in self._probes(maps, row.policy, direction, party):
                for number, fresh in peers.items():
                    at = (direction, protocol, port)
                    held = decide(maps.tables, row.policy, *at, number).verdict
                    wanted = self.world.engine.explain(party.subject, *at, fresh)
                    if held is not wanted.verdict:
                        yield (
                            f"{party.name} {direction.name} protocol {protocol} port {port} with"
                            f" {number}: the kernel says {held}, the rules {wanted.verdict}"
                            f" ({wanted})"
                        )

    def _probes(
        self, maps: NodeMaps, policy: int, direction: Direction, party: Party
    ) -> list[tuple[int, int]]:
        """Every port at which the rules or the rows change, and their neighbours."""
        edges = {protocol: {0, LAST_PORT} for protocol in PROTOCOLS}
        for entry in self.world.engine.side(party.subject, direction).entries:
            if entry.protocol in edges:
                edges[entry.protocol] |= {entry.first, entry.last}
        for key in maps.tables.rows:
            if (key.policy, key.direction) == (policy, direction) and key.protocol in edges:
                edges[key.protocol] |= {key.port, key.port | LAST_PORT >> key.port_bits}
        return [
            (protocol, port)
            for protocol, found in edges.items()
            for port in sorted({edge + step for edge in found for step in (-1, 0, 1)})
            if 0 <= port <= LAST_PORT
        ]

    def _peers(self, node: str, maps: NodeMaps) -> Iterator[tuple[int, LabelSet]]:
        """Every identity that this node may meet, with the labels that it must have here."""
        own = self.world.host(node)
        for member in Reserved:
            if member is Reserved.HOST:
                yield int(member), own.seen_from(own)
            elif member is Reserved.KUBE_APISERVER and self._on_other_nodes(node):
                yield int(member), {SERVER: "", f"reserved:{Reserved.REMOTE_NODE.label}": ""}
            elif member:
                yield int(member), {f"reserved:{member.label}": ""}
        yield from self.identities.items()
        for prefix, place in maps.ipcache.items():
            if is_local_scope(place.identity):
                yield place.identity, self._prefix_labels(prefix)

    def _prefix_labels(self, prefix: Network) -> LabelSet:
        labels = cidr_labels(prefix, dual_stack=True)
        if prefix in self._outside:
            labels = {**labels, SERVER: ""}
        covering = {prefix.supernet(new_prefix=n) for n in range(prefix.prefixlen + 1)}
        for group in self._groups:
            if covering & group.prefixes:
                labels |= group.labels
        return labels

    def _on_other_nodes(self, node: str) -> bool:
        """Whether an API server is on another node; all those share one identity."""
        others = {a for name, own in self._nodes.items() for a in own if name != node}
        return not others.isdisjoint(self._servers)


SERVER = f"reserved:{Reserved.KUBE_APISERVER.label}"
KINDS = (
    *("Namespace", "Node", "Pod", "EndpointSlice", "NetworkPolicy", "CiliumNetworkPolicy"),
    *("CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup", "CiliumIdentity", "CiliumEndpoint"),
    "CiliumNode",
)


def _name(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _has_network(pod: Json) -> bool:
    ended = pod["status"]["phase"] in ENDED
    return not pod["spec"].get("hostNetwork") and not ended and bool(pod["status"].get("podIPs"))


def _addresses(node: Json) -> dict[Address, str]:
    return {ip_address(entry["ip"]): entry["type"] for entry in node["spec"]["addresses"]}


def _named(objects: Sequence[Json], cluster: str) -> set[Network]:
    found: set[Network] = set()
    for body in objects:
        if is_policy(body):
            try:
                policies = parse(body, cluster, FAMILIES)
            except FieldError:
                continue  # the World has it among its problems
            found |= {prefix for policy in policies for prefix in prefixes(policy)}
    return found
