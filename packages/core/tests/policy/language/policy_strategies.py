# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of valid policies, as decoded JSON. For every test that needs policies.

`policies()` draws any kind; `network_policies`, `cilium_policies` and `clusterwide_policies` one.
All draw names, namespaces and labels from few values, so that policies and pods meet.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from hypothesis import strategies as st

from cilium_core.addresses import Network
from cilium_core.policy.language.entities import ENTITIES
from cilium_core.policy.language.icmp import TYPES_V4, TYPES_V6

Object = dict[str, Any]
Objects = st.SearchStrategy[Object]

NAMESPACES = ("shop", "bank", "default")
LABELS = {"app": ("web", "db", ""), "tier": ("front", "back"), "example.com/role": ("a.b", "c_d")}
NAMESPACE = "io.kubernetes.pod.namespace"
RESERVED = ("host", "remote-node", "world", "health", "ingress")

_keys = st.sampled_from([*LABELS])
_sources = st.sampled_from(["", "k8s:", "any:"])


def _maybe(**fields: st.SearchStrategy[Any]) -> Objects:
    return st.fixed_dictionaries({}, optional=fields)


def _some(one: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=1, max_size=most)


def networks() -> st.SearchStrategy[Network]:
    """Prefixes of both families, host bits clear, IPv4-mapped ones left out."""
    v4 = st.builds(
        lambda address, length: IPv4Network((address >> (32 - length) << (32 - length), length)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    )
    v6 = st.builds(
        lambda address, length: IPv6Network(
            ((0xFD << 120 | address) >> (128 - length) << (128 - length), length)
        ),
        st.integers(0, 2**112 - 1),
        st.integers(0, 128),
    )
    return st.one_of(v4, v6)


@st.composite
def _match_label(draw: st.DrawFn, sourced: bool) -> tuple[str, str]:
    key = draw(_keys)
    return (draw(_sources) if sourced else "") + key, draw(st.sampled_from(LABELS[key]))


@st.composite
def _expression(draw: st.DrawFn, sourced: bool) -> Object:
    key = draw(_keys)
    name = (draw(_sources) if sourced else "") + key
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
    found: Object = {"key": name, "operator": operator}
    if operator in ("In", "NotIn"):
        found["values"] = draw(_some(st.sampled_from(LABELS[key])))
    return found


def label_selectors(sourced: bool = True) -> Objects:
    """Selectors over LABELS; with `sourced`, keys may name their source."""
    return _maybe(
        matchLabels=st.lists(_match_label(sourced), max_size=2).map(dict),
        matchExpressions=st.lists(_expression(sourced), max_size=2),
    )


def peer_selectors() -> Objects:
    """Selectors of peers: by labels, by namespace, by reserved label."""
    spaces = st.sampled_from(NAMESPACES)
    return st.one_of(
        label_selectors(),
        spaces.map(lambda name: {"matchLabels": {f"k8s:{NAMESPACE}": name}}),
        spaces.map(
            lambda name: {
                "matchExpressions": [{"key": NAMESPACE, "operator": "NotIn", "values": [name]}]
            }
        ),
        st.sampled_from(RESERVED).map(lambda name: {"matchLabels": {f"reserved:{name}": ""}}),
    )


@st.composite
def _inside(draw: st.DrawFn, outer: Network) -> str:
    length = draw(st.integers(outer.prefixlen, outer.max_prefixlen))
    low, high = int(outer.network_address), int(outer.broadcast_address)
    host = outer.max_prefixlen - length
    start = draw(st.integers(low, high)) >> host << host
    kind = IPv4Network if outer.version == 4 else IPv6Network
    return str(kind((start, length)))


@st.composite
def cidr_rules(draw: st.DrawFn, named: bool = True) -> Object:
    """Elements of toCIDRSet, or (not `named`) the bodies of an ipBlock."""
    if named and draw(st.integers(0, 4)) == 0:
        return {"cidrGroupRef": draw(st.sampled_from(["offices", "partners"]))}
    outer = draw(networks())
    found: Object = {"cidr": str(outer)}
    if draw(st.booleans()):
        found["except"] = draw(st.lists(_inside(outer), max_size=2))
    return found


def _numbered() -> Objects:
    """A port, a range of ports, or every port."""

    def entry(port: int, more: int, protocol: str) -> Object:
        found: Object = {"port": str(port), "protocol": protocol}
        if port and more and port + more <= 65535:
            found["endPort"] = port + more
        return found

    ports = st.one_of(st.sampled_from([0, 80, 443, 8080]), st.integers(0, 65535))
    ranges = st.one_of(st.just(0), st.integers(0, 3000))
    return st.builds(entry, ports, ranges, st.sampled_from(["TCP", "UDP", "SCTP", "ANY"]))


def port_entries() -> Objects:
    """Elements of `ports` of a Cilium rule."""
    return st.one_of(
        _numbered(),
        st.sampled_from(["http", "dns-tcp", "Metrics9"]).map(lambda name: {"port": name}),
        st.sampled_from(["TCP", "UDP", "VRRP", "IGMP"]).map(lambda word: {"protocol": word}),
        st.integers(0, 255).map(lambda kind: {"port": str(kind), "protocol": "ICMP"}),
    )


def _plain() -> Objects:
    return _maybe(ports=st.lists(port_entries(), max_size=3))


def _over(kind: str, rule: Objects, *entries: Object) -> Objects:
    return st.fixed_dictionaries(
        {
            "ports": _some(st.sampled_from(entries)),
            "rules": st.fixed_dictionaries({kind: st.lists(rule, max_size=2)}),
        }
    )


def _http() -> Objects:
    rule = _maybe(
        path=st.sampled_from(["/", "/v[12]/.*", "/a(b|c)?"]),
        method=st.sampled_from(["GET", "PUT|POST"]),
        host=st.just("api.example.com"),
        headers=st.lists(st.sampled_from(["X-Token", "X-Mode fast"]), max_size=2),
        headerMatches=st.just([{"name": "X-Id", "value": "7", "mismatch": "LOG"}]),
    )
    return _over(
        "http", rule, {"port": "80", "protocol": "TCP"}, {"port": "web", "protocol": "TCP"}
    )


def _kafka() -> Objects:
    rule = _maybe(role=st.sampled_from(["produce", "consume"]), topic=st.just("orders"))
    return _over("kafka", rule, {"port": "9092", "protocol": "TCP"})


def dns_names() -> Objects:
    """Elements of toFQDNs and of DNS rules."""
    return st.one_of(
        st.sampled_from(["cilium.io", "a-b.example.com"]).map(lambda name: {"matchName": name}),
        st.sampled_from(["*", "*.cilium.io"]).map(lambda name: {"matchPattern": name}),
    )


def _dns() -> Objects:
    return _over("dns", dns_names(), {"port": "53"}, {"port": "53", "protocol": "UDP"})


def _names() -> Objects:
    return st.fixed_dictionaries(
        {
            "ports": st.just([{"port": "443", "protocol": "TCP"}]),
            "serverNames": _some(st.sampled_from(["cilium.io", "*.example.com"])),
        }
    )


def port_rules(egress: bool, deny: bool, nodes: bool) -> Objects:
    """Elements of toPorts, with L7 rules where they may stand."""
    kinds = [_plain()]
    if not deny and not nodes:
        kinds += [_http(), _kafka(), _names()]
    if not deny and egress:
        kinds.append(_dns())
    return st.one_of(kinds)


def icmp_rules() -> Objects:
    """Elements of icmps."""
    v4 = st.one_of(st.integers(0, 255), st.sampled_from([*TYPES_V4]))
    v6 = st.one_of(st.integers(0, 255), st.sampled_from([*TYPES_V6]))
    field = st.one_of(
        v4.map(lambda kind: {"type": kind}),
        v6.map(lambda kind: {"family": "IPv6", "type": kind}),
    )
    return _maybe(fields=st.lists(field, max_size=3))


@st.composite
def elements(draw: st.DrawFn, egress: bool, deny: bool, nodes: bool = False) -> Object:
    """Elements of a section of a Cilium rule; at most one peer field, as upstream has it."""
    prefix = "to" if egress else "from"
    peers: dict[str, st.SearchStrategy[Any]] = {
        f"{prefix}Endpoints": peer_selectors(),
        f"{prefix}Entities": st.sampled_from(ENTITIES),
        f"{prefix}CIDR": networks().map(str),
        f"{prefix}CIDRSet": cidr_rules(),
    }
    if egress and not deny:
        peers["toFQDNs"] = dns_names()
    found: Object = {}
    if name := draw(st.sampled_from(["", *peers])):
        found[name] = draw(st.lists(peers[name], max_size=3))
    match draw(st.integers(0, 3)):
        case 0 | 1:
            found["toPorts"] = draw(_some(port_rules(egress, deny, nodes), 2))
        case 2:
            found["icmps"] = draw(_some(icmp_rules(), 2))
    return found


@st.composite
def specs(draw: st.DrawFn, clusterwide: bool = False) -> Object:
    """The `spec` of a Cilium policy."""
    nodes = clusterwide and draw(st.booleans())
    found: Object = {"nodeSelector" if nodes else "endpointSelector": draw(label_selectors())}
    names = ("ingress", "ingressDeny", "egress", "egressDeny")
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    for name in chosen:
        one = elements(name.startswith("egress"), name.endswith("Deny"), nodes)
        found[name] = draw(_some(one))
    if draw(st.integers(0, 3)) == 0:
        found["enableDefaultDeny"] = draw(_maybe(ingress=st.booleans(), egress=st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        found["description"] = draw(st.text(max_size=5))
        found["labels"] = [{"key": "owner", "value": "me", "source": "k8s"}]
        found["log"] = {"value": "seen"}
    return found


@st.composite
def _cilium(draw: st.DrawFn, clusterwide: bool) -> Object:
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    metadata = {"name": draw(st.sampled_from(["one", "two", "three"]))}
    if not clusterwide:
        metadata["namespace"] = draw(st.sampled_from(NAMESPACES))
    found: Object = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata}
    if draw(st.integers(0, 3)):
        found["spec"] = draw(specs(clusterwide))
    else:
        found["specs"] = draw(_some(specs(clusterwide), 2))
    return found


def cilium_policies() -> Objects:
    """CiliumNetworkPolicies."""
    return _cilium(clusterwide=False)


def clusterwide_policies() -> Objects:
    """CiliumClusterwideNetworkPolicies, on endpoints or on nodes."""
    return _cilium(clusterwide=True)


def _kubernetes_peers() -> Objects:
    plain = label_selectors(sourced=False)
    return st.one_of(
        plain.map(lambda pods: {"podSelector": pods}),
        plain.map(lambda spaces: {"namespaceSelector": spaces}),
        st.builds(lambda p, n: {"podSelector": p, "namespaceSelector": n}, plain, plain),
        cidr_rules(named=False).map(lambda block: {"ipBlock": block}),
    )


def _kubernetes_ports() -> Objects:
    def entry(found: Object) -> Object:
        return {**found, "port": int(found["port"])} if found["port"] != "0" else {}

    numbered = _numbered().filter(lambda found: found["protocol"] != "ANY").map(entry)
    return st.one_of(
        numbered,
        st.just({"protocol": "SCTP"}),
        st.sampled_from(["http", "dns-tcp"]).map(lambda name: {"port": name}),
    )


@st.composite
def network_policies(draw: st.DrawFn) -> Object:
    """NetworkPolicies of networking.k8s.io/v1."""

    def rules(peers: str) -> st.SearchStrategy[list[Object]]:
        fields: dict[str, st.SearchStrategy[Any]] = {
            peers: st.lists(_kubernetes_peers(), max_size=2),
            "ports": st.lists(_kubernetes_ports(), max_size=2),
        }
        return st.lists(_maybe(**fields), max_size=2)

    types = st.lists(st.sampled_from(["Ingress", "Egress"]), max_size=2, unique=True)
    spec = draw(
        _maybe(
            podSelector=label_selectors(sourced=False),
            policyTypes=types,
            ingress=rules("from"),
            egress=rules("to"),
        )
    )
    metadata = {"name": "np", "namespace": draw(st.sampled_from(NAMESPACES))}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def policies() -> Objects:
    """Policies of all three kinds."""
    return st.one_of(network_policies(), cilium_policies(), clusterwide_policies())
