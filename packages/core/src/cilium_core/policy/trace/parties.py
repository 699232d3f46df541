# SPDX-License-Identifier: Apache-2.0
"""Who can stand at the ends of a probe: pods, nodes, and addresses outside the cluster. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from cilium_core.addresses import Address
from cilium_core.errors import FieldError
from cilium_core.identity import Reserved
from cilium_core.labels import LabelFilter, LabelSet, pod_labels
from cilium_core.policy import named_ports
from cilium_core.policy.named_ports import NamedPorts
from cilium_core.policy.rules import Protocol
from cilium_core.policy.trace import manifests

HOST = f"reserved:{Reserved.HOST.label}"
REMOTE_NODE = f"reserved:{Reserved.REMOTE_NODE.label}"
KUBE_APISERVER = f"reserved:{Reserved.KUBE_APISERVER.label}"
METADATA_NAME = "kubernetes.io/metadata.name"  # which the API server adds to each namespace
_FILTER = LabelFilter()
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Party:
    """One end. `labels` are those of its identity, for a node as other nodes see it.

    `subject` is what the engine knows it by if policies can select it. `node` is where it is,
    empty when the manifests do not say. `version` is that of its address, when it stands for one.
    """

    name: str
    labels: LabelSet = field(hash=False, compare=False)
    subject: Hashable = None
    node: str = ""
    is_node: bool = False
    version: int = 4

    def is_host_of(self, other: Party) -> bool:
        """Tell whether this is the node that the other runs on."""
        return self.is_node and self.node == other.node

    def seen_from(self, other: Party) -> LabelSet:
        """Return the labels of the identity that the other's node has for it."""
        if not self.is_host_of(other):
            return self.labels
        return {HOST: "", **{key: "" for key in self.labels if key != REMOTE_NODE}}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of its own network: its end, addresses, named ports, and labels as it has them."""

    party: Party
    addresses: tuple[Address, ...]
    ports: NamedPorts
    labels: Mapping[str, str]
    namespace: str
    running: bool


def node(
    found: manifests.Node, apiservers: frozenset[Address]
) -> tuple[Party, tuple[Address, ...]]:
    """Return a node's end and its addresses. `apiservers` are those of the API server."""
    name = found.metadata.name
    listed = found.status.addresses or []
    own = addresses(one.address for one in listed if one.type.endswith("IP"))
    labels = {REMOTE_NODE: ""}
    if apiservers & set(own):
        labels[KUBE_APISERVER] = ""
    version = own[0].version if own else 4
    return Party(f"node:{name}", labels, ("node", name), name, True, version), own


def unknown_node(name: str) -> Party:
    """Return a node of which only the name is known, or nothing. Policies cannot select it."""
    return Party(f"node:{name}" if name else "entity:host", {REMOTE_NODE: ""}, None, name, True)


def pod(found: manifests.Pod, namespace_labels: Mapping[str, str], cluster: str) -> Pod:
    """Return a pod that has a network of its own. FieldError for an address that is none."""
    ports = _ports(found)
    labels = pod_labels(
        found.labels,
        found.namespace,
        {METADATA_NAME: found.namespace, **namespace_labels},
        found.spec.service_account_name,
        cluster,
    )
    if ports:
        labels[named_ports.LABEL] = named_ports.render(ports)
    own = addresses([*(ip.ip for ip in found.status.pod_ips or []), found.status.pod_ip])
    party = Party(
        name=found.name,
        labels=_FILTER.apply(labels),
        subject=("pod", found.name),
        node=found.spec.node_name,
        version=own[0].version if own else 4,
    )
    running = found.status.phase not in _ENDED
    return Pod(party, own, ports, found.labels, found.namespace, running)


def addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Return the addresses written in texts, each once; empty ones are left out. FieldError."""
    return tuple(dict.fromkeys(address("address", text) for text in texts if text))


def address(name: str, text: str) -> Address:
    """Return the address in a text. FieldError, naming the field, for anything else."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise FieldError(name, f"{text!r} is no IP address") from error


def _ports(pod: manifests.Pod) -> dict[str, frozenset[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for container in [*(pod.spec.containers or []), *(pod.spec.init_containers or [])]:
        for port in container.ports or []:
            if port.name and port.protocol in Protocol.__members__:
                number = (int(Protocol[port.protocol]), port.container_port)
                found.setdefault(port.name, set()).add(number)
    return {name: frozenset(numbers) for name, numbers in found.items()}
