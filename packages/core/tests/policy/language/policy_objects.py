# SPDX-License-Identifier: Apache-2.0
"""Objects as the API has them, short to write, and a small cluster of identities to match."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet, pod_labels
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.language import parse
from cilium_core.policy.rules import PeerSet, Policy, Rule

Object = dict[str, Any]
CLUSTER = "lab"
NAMESPACE = "io.kubernetes.pod.namespace"
EVERYONE = "everyone"


def _object(api: str, kind: str, metadata: Object, **body: Any) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def np(spec: Any, namespace: str = "shop", name: str = "p") -> Object:
    """A NetworkPolicy."""
    metadata = {"name": name, "namespace": namespace}
    return _object("networking.k8s.io/v1", "NetworkPolicy", metadata, spec=spec)


def cnp(spec: Any = None, namespace: str = "shop", name: str = "p", **more: Any) -> Object:
    """A CiliumNetworkPolicy."""
    metadata = {"name": name, "namespace": namespace}
    body = more if spec is None else {"spec": spec, **more}
    return _object("cilium.io/v2", "CiliumNetworkPolicy", metadata, **body)


def ccnp(spec: Any = None, name: str = "p", **more: Any) -> Object:
    """A CiliumClusterwideNetworkPolicy."""
    body = more if spec is None else {"spec": spec, **more}
    return _object("cilium.io/v2", "CiliumClusterwideNetworkPolicy", {"name": name}, **body)


def group(cidrs: Any, name: str = "offices", **labels: str) -> Object:
    """A CiliumCIDRGroup."""
    metadata = {"name": name, "labels": labels}
    return _object("cilium.io/v2", "CiliumCIDRGroup", metadata, spec={"externalCIDRs": cidrs})


def one(obj: Object, families: tuple[int, ...] = (4, 6)) -> Policy:
    """The only policy of an object."""
    (policy,) = parse(obj, CLUSTER, families)
    return policy


def rules(section: str, *elements: Any, **more: Any) -> tuple[Rule, ...]:
    """What elements of one section of a CiliumNetworkPolicy state."""
    return one(cnp({"endpointSelector": {}, section: list(elements), **more})).rules


def rule(section: str, element: Any, **more: Any) -> Rule:
    """The only rule that an element states."""
    (found,) = rules(section, element, **more)
    return found


def pod(namespace: str, cluster: str = CLUSTER, account: str = "", **labels: str) -> LabelSet:
    """The labels of a pod; its namespace is labelled with `tier`, its name."""
    return pod_labels(labels, namespace, {"tier": namespace}, account, cluster)


def outside(prefix: str) -> LabelSet:
    """The labels of the identity of a prefix."""
    return cidr_labels(ip_network(prefix), dual_stack=True)


IDENTITIES: dict[str, LabelSet] = {
    "own": pod("shop", app="web"),
    "own-db": pod("shop", app="db", account="keeper"),
    "other": pod("bank", app="web"),
    "far": pod("shop", cluster="far", app="web"),
    "ten": outside("10.0.0.0/8"),
    "ten-one": outside("10.1.0.0/16"),
    "fd": outside("fd00::/8"),
    **{one.label: {f"reserved:{one.label}": ""} for one in Reserved if one},
}
PODS = {"own", "own-db", "other"}
WORLD = {"world", "world-ipv4", "world-ipv6", "ten", "ten-one", "fd"}
NODES = {"host", "remote-node", "kube-apiserver"}
INSIDE = {*PODS, *NODES, "init", "ingress", "health", "unmanaged"}


def who(peers: PeerSet | None) -> set[str] | str:
    """The identities that are among the peers, by name; EVERYONE for no condition at all."""
    if peers is None:
        return EVERYONE
    return {name for name, labels in IDENTITIES.items() if peers.matches(labels)}


def all_of(found: Iterable[Rule]) -> set[str] | str:
    """The union of `who` over rules."""
    names: set[str] = set()
    for each in found:
        peers = who(each.peers)
        if isinstance(peers, str):
            return EVERYONE
        names |= peers
    return names
