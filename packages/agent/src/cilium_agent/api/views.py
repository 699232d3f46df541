# SPDX-License-Identifier: Apache-2.0
"""Endpoints, identities, addresses and nodes as the API shows them; upstream's key names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cilium_agent.k8s.objects import NodeObject
from cilium_agent.model import Endpoint, EndpointState, RemoteNode
from cilium_agent.nodes.fields import INTERNAL_IP
from cilium_agent.state import AgentState
from cilium_core.addresses import UNSPECIFIED, unpack_address
from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet


def label_list(labels: LabelSet) -> list[str]:
    """Return labels as `source:key=value` texts, `source:key` when the value is empty."""
    return [f"{key}={value}" if value else key for key, value in sorted(labels.items())]


def endpoint(item: Endpoint, policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return one endpoint; `policy` is its enforcement (see `policies`)."""
    labels = label_list(item.labels)
    return {
        "id": item.endpoint_id,
        "spec": {"label-configuration": {}, "options": {}},
        "status": {
            "state": item.state.value,
            "external-identifiers": {
                "cni-attachment-id": f"{item.container_id}:{item.interface}",
                "container-id": item.container_id,
                "k8s-namespace": item.pod_namespace,
                "k8s-pod-name": item.pod_name,
                "pod-name": f"{item.pod_namespace}/{item.pod_name}",
            },
            "health": health(item.state),
            "identity": {"id": item.identity, "labels": labels},
            "labels": {"security-relevant": labels},
            "networking": {
                "addressing": [
                    {
                        "ipv4": str(item.ipv4) if item.ipv4 else "",
                        "ipv6": str(item.ipv6) if item.ipv6 else "",
                    }
                ],
                "container-interface-name": item.interface,
                "host-mac": _mac(item.node_mac),
                "interface-index": item.host_ifindex,
                "interface-name": item.host_interface,
                "mac": _mac(item.mac),
            },
            "policy": dict(policy),
        },
    }


def health(state: EndpointState) -> dict[str, Any]:
    """Return upstream's EndpointHealth, which follows from the state."""
    match state:
        case EndpointState.READY:
            word = "OK"
        case EndpointState.NOT_READY:
            word = "Warning"
        case EndpointState.REGENERATING | EndpointState.DISCONNECTING:
            word = "Pending"
        case _:
            word = "Disabled"
    bpf, policy = word, word
    if state is EndpointState.WAITING_FOR_IDENTITY:
        policy = "Bootstrap"
    gone = state in (EndpointState.DISCONNECTED, EndpointState.RESTORING)
    return {"bpf": bpf, "policy": policy, "overallHealth": word, "connected": not gone}


def matches(item: Endpoint, wanted: str) -> bool:
    """Tell whether an endpoint goes by this id: a number or one of upstream's prefixed forms."""
    prefix, colon, rest = wanted.partition(":")
    if not colon:
        return wanted == str(item.endpoint_id)
    name = f"{item.pod_namespace}:{item.pod_name}"
    forms = {
        "cilium-local": str(item.endpoint_id),
        "cni-attachment-id": f"{item.container_id}:{item.interface}",
        "container-id": item.container_id,
        "pod-name": name,
        "cep-name": name,
        "ipv4": str(item.ipv4),
        "ipv6": str(item.ipv6),
    }
    return forms.get(prefix) == rest or (prefix == "pod-name" and rest == name.replace(":", "/"))


def identities(state: AgentState) -> list[dict[str, Any]]:
    """Return reserved, cluster and local identities with their local users, by number."""
    known: dict[int, list[str]] = {
        int(member): [f"reserved:{member.label}"] for member in Reserved if member
    }
    users: dict[int, int] = {}
    if state.allocator is not None:
        for number, labels in state.allocator.known().items():
            known[number] = label_list(labels)
    if state.keeper is not None:
        for number, labels in state.keeper.local_labels().items():
            known[number] = label_list(labels)
    for item in state.endpoint_list():
        users[item.identity] = users.get(item.identity, 0) + 1
    return [
        {"identity": {"id": number, "labels": known[number]}, "refCount": users.get(number, 0)}
        for number in sorted(known)
    ]


def addresses(state: AgentState) -> list[dict[str, Any]]:
    """Return every prefix of the ipcache with its identity."""
    if state.ipcache is None:
        return []
    names = _pod_names(state)
    entries = []
    for network, info in state.ipcache.entries():
        entry: dict[str, Any] = {"cidr": str(network), "identity": info.identity}
        if info.tunnel != UNSPECIFIED:
            entry["hostIP"] = str(unpack_address(info.tunnel))
        pod = names.get(str(network.network_address))
        if pod is not None and network.prefixlen == network.max_prefixlen:
            entry["metadata"] = {"source": "k8s", "namespace": pod[0], "name": pod[1]}
        entries.append(entry)
    return entries


def nodes(state: AgentState) -> dict[str, Any]:
    """Return this node and the others."""
    own = state.informers.get("Node")
    name = state.settings.node_name
    here = own.get("", name) if own is not None else None
    listed = [_own_node(state, here)] if isinstance(here, NodeObject) else []
    listed += [_remote_node(state, node) for node in state.remote_nodes.values()]
    return {"client-id": 0, "self": _full(state, name), "nodes-added": listed, "nodes-removed": []}


def _own_node(state: AgentState, node: NodeObject) -> dict[str, Any]:
    held = [entry.address for entry in node.status.addresses if entry.type == INTERNAL_IP]
    addressing = state.addressing
    pods = [addressing.pod_v4, addressing.pod_v6] if addressing is not None else []
    return _node(_full(state, state.settings.node_name), held, [str(net) for net in pods if net])


def _remote_node(state: AgentState, node: RemoteNode) -> dict[str, Any]:
    cidrs = [str(network) for network in node.pod_cidrs]
    return _node(_full(state, node.name), [str(a) for a in node.addresses], cidrs)


def _node(name: str, held: list[str], cidrs: list[str]) -> dict[str, Any]:
    def of(texts: list[str], v6: bool) -> str:
        return next((text for text in texts if (":" in text) == v6), "")

    return {
        "name": name,
        "primary-address": {
            "ipv4": {"ip": of(held, False), "alloc-range": of(cidrs, False)},
            "ipv6": {"ip": of(held, True), "alloc-range": of(cidrs, True)},
        },
    }


def _full(state: AgentState, name: str) -> str:
    return f"{state.settings.cluster_name}/{name}"


def _pod_names(state: AgentState) -> Mapping[str, tuple[str, str]]:
    names: dict[str, tuple[str, str]] = {}
    informer = state.informers.get("CiliumEndpoint")
    for key, item in (informer.items if informer is not None else {}).items():
        networking = item.status.networking
        for pair in networking.addressing if networking is not None else ():
            names.update({text: key for text in (pair.ipv4, pair.ipv6) if text})
    for item in state.endpoint_list():
        for address in (item.ipv4, item.ipv6):
            names[str(address)] = (item.pod_namespace, item.pod_name)
    return names


def _mac(raw: bytes) -> str:
    return raw.hex(":")
