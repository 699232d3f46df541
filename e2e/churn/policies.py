# SPDX-License-Identifier: Apache-2.0
"""Random policies of every kind, all of them valid, and all of them about the churn's pods alone.

Values come from small pools, so that rules overlap, repeat and contradict each other. Pure: equal
generators give equal objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

Object = dict[str, Any]
MARK = "churn"  # label of the churn's namespaces, and so of every identity in them
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
APPS, TIERS, TEAMS = ("web", "api", "db"), ("1", "2"), ("red", "blue")
PORTS = (53, 80, 81, 443, 8080)
NAMED = {"web": 8080, "echo": 7000}
CIDRS = ("10.0.0.0/8", "172.30.0.0/16", "172.30.0.10/32", "198.51.100.0/24", "fd00::/8", "::/0")
INNER = {"10.0.0.0/8": "10.0.0.0/24", "172.30.0.0/16": "172.30.0.12/32", "fd00::/8": "fd00::/120"}
GROUPS = ("churn-g0", "churn-g1")
ENTITIES = ("world", "cluster", "host", "remote-node", "kube-apiserver", "all")


def network_policy(random: Random, namespace: str, name: str) -> Object:
    """A NetworkPolicy."""
    spec: Object = {"podSelector": _selector(random)}
    types = random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    spec["policyTypes"] = types
    for direction, peers in (("Ingress", "from"), ("Egress", "to")):
        if direction in types and random.random() < 0.8:
            spec[direction.lower()] = [_rule(random, peers) for _ in range(random.randint(0, 3))]
    return _object("networking.k8s.io/v1", "NetworkPolicy", spec, name, namespace)


def cilium_policy(random: Random, namespace: str, name: str) -> Object:
    """A CiliumNetworkPolicy."""
    return _object("cilium.io/v2", "CiliumNetworkPolicy", _cilium_spec(random, {}), name, namespace)


def clusterwide_policy(random: Random, mark: str, name: str) -> Object:
    """A CiliumClusterwideNetworkPolicy; `mark` is the value of MARK."""
    ours = {f"k8s:{NAMESPACE_LABELS}.{MARK}": mark}
    return _object(
        "cilium.io/v2", "CiliumClusterwideNetworkPolicy", _cilium_spec(random, ours), name
    )


def group(random: Random, name: str) -> Object:
    """A CiliumCIDRGroup."""
    listed = random.sample([cidr for cidr in CIDRS if cidr != "::/0"], random.randint(1, 3))
    return _object("cilium.io/v2", "CiliumCIDRGroup", {"externalCIDRs": listed}, name)


def pod_labels(random: Random) -> dict[str, str]:
    """Labels that the policies' selectors know."""
    return {"app": random.choice(APPS), "tier": random.choice(TIERS)}


def _object(api: str, kind: str, spec: Object, name: str, namespace: str = "") -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _selector(random: Random) -> Object:
    return random.choice(
        (
            {},
            {"matchLabels": {"app": random.choice(APPS)}},
            {"matchLabels": pod_labels(random)},
            {
                "matchExpressions": [
                    {"key": "app", "operator": "NotIn", "values": random.sample(APPS, 2)},
                    {"key": "tier", "operator": "Exists"},
                ]
            },
        )
    )


def _rule(random: Random, peers: str) -> Object:
    found: Object = {}
    if random.random() < 0.8:
        found[peers] = [_peer(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.7:
        found["ports"] = [_port(random) for _ in range(random.randint(1, 2))]
    return found


def _peer(random: Random) -> Object:
    match random.randrange(4):
        case 0:
            return {"podSelector": _selector(random)}
        case 1:
            return {"namespaceSelector": {"matchLabels": {"team": random.choice(TEAMS)}}}
        case 2:
            team = {"matchLabels": {"team": random.choice(TEAMS)}}
            return {"namespaceSelector": team, "podSelector": _selector(random)}
        case _:
            return {"ipBlock": _block(random)}


def _block(random: Random) -> Object:
    cidr = random.choice(CIDRS)
    inner = {"except": [INNER[cidr]]} if cidr in INNER and random.random() < 0.5 else {}
    return {"cidr": cidr, **inner}


def _port(random: Random) -> Object:
    protocol = random.choice(("TCP", "UDP", "SCTP"))
    if random.random() < 0.2:
        return {"port": random.choice(tuple(NAMED)), "protocol": protocol}
    first = random.choice(PORTS)
    end = {"endPort": first + random.randint(1, 900)} if random.random() < 0.3 else {}
    return {"port": first, "protocol": protocol, **end}


def _cilium_spec(random: Random, subject: Mapping[str, str]) -> Object:
    selector = _selector(random)
    if subject:
        selector = {**selector, "matchLabels": {**selector.get("matchLabels", {}), **subject}}
    spec: Object = {"endpointSelector": selector}
    sections = ("ingress", "egress", "ingressDeny", "egressDeny")
    for section in random.sample(sections, random.randint(1, 3)):
        deny = section.endswith("Deny")
        rules = [_cilium_rule(random, section, deny) for _ in range(random.randint(1, 2))]
        spec[section] = rules
    return spec


def _cilium_rule(random: Random, section: str, deny: bool) -> Object:
    prefix = "from" if section.startswith("ingress") else "to"
    found: Object = {}
    if random.random() < 0.9:
        name, values = random.choice(_PEERS)(random)
        found[f"{prefix}{name}"] = values
    kind = random.random()
    if kind < 0.6:
        found["toPorts"] = [_cilium_ports(random, deny)]
    elif kind < 0.7:
        fields = [{"type": random.choice((0, 8, 128)), "family": random.choice(("IPv4", "IPv6"))}]
        found["icmps"] = [{"fields": fields}]
    return found


def _endpoints(random: Random) -> tuple[str, Sequence[Any]]:
    found = [_selector(random)]
    if random.random() < 0.4:
        found.append({"matchLabels": {f"k8s:{NAMESPACE_LABELS}.team": random.choice(TEAMS)}})
    return "Endpoints", found


def _set(random: Random) -> tuple[str, Sequence[Any]]:
    if random.random() < 0.5:
        return "CIDRSet", [{"cidrGroupRef": random.choice(GROUPS)}]
    return "CIDRSet", [_block(random)]


_PEERS: tuple[Callable[[Random], tuple[str, Sequence[Any]]], ...] = (
    _endpoints,
    _endpoints,
    lambda random: ("Entities", [random.choice(ENTITIES)]),
    lambda random: ("CIDR", random.sample(CIDRS, 2)),
    _set,
)


def _cilium_ports(random: Random, deny: bool) -> Object:
    listed = []
    for _ in range(random.randint(1, 2)):
        one = _port(random)
        listed.append({**one, "port": str(one["port"])})
    if not deny and random.random() < 0.15:
        listed = [{"port": "80", "protocol": "TCP"}]
        return {"ports": listed, "rules": {"http": [{"method": "GET", "path": "/public"}]}}
    return {"ports": listed}
