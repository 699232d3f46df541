# SPDX-License-Identifier: Apache-2.0
"""Probes against a small cluster: who is who, both sides, services, nodes, the world."""

import pytest

from cilium_core.errors import FieldError
from cilium_core.policy.trace import World, judge, parse_probe


def obj(api, kind, name, namespace=None, labels=None, **sections):
    metadata = {"name": name, "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **sections}


def pod(name, app, address, node="n1", namespace="shop", **spec):
    return obj(
        *("v1", "Pod", name, namespace, {"app": app}),
        spec={"nodeName": node, **spec},
        status={"podIP": address, "phase": "Running"} if address else {},
    )


def node(name, *addresses, **labels):
    listed = [{"type": "InternalIP", "address": one} for one in addresses]
    return obj("v1", "Node", name, None, labels, status={"addresses": listed})


def policy(name, spec, namespace="shop"):
    return obj("cilium.io/v2", "CiliumNetworkPolicy", name, namespace, spec=spec)


def clusterwide(name, spec):
    return obj("cilium.io/v2", "CiliumClusterwideNetworkPolicy", name, spec=spec)


HTTP = {"ports": [{"name": "http", "containerPort": 8080}]}
CLUSTER = [
    obj("v1", "Namespace", "shop", None, {"team": "a"}),
    obj("v1", "Namespace", "ops"),
    node("n1", "192.168.0.1", role="worker"),
    node("n2", "192.168.0.2"),
    pod("web", "web", "10.0.1.1", containers=[HTTP]),
    pod("db", "db", "10.0.2.1", "n2"),
    pod("tool", "tool", "10.0.2.2", "n2", "ops"),
    pod("agent", "agent", "192.168.0.2", "n2", "ops", hostNetwork=True),
]


def ask(objects, source, target, port=80, protocol="TCP", **more):
    world = World([*CLUSTER, *objects])
    assert not world.problems
    probe = {"from": source, "to": target, "port": port, "protocol": protocol, **more}
    return judge(world, parse_probe(probe))


def verdict(*arguments, **more):
    return str(ask(*arguments, **more).answer)


def ingress(*rules, app="web", **more):
    found = {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": list(rules), **more}
    return policy("in", found)


def egress(*rules, app="web"):
    return policy("out", {"endpointSelector": {"matchLabels": {"app": app}}, "egress": list(rules)})


def entity(name):
    return {"fromEntities": [name]}


def test_without_policies_everything_passes():
    for source in ("shop/web", "ip:1.2.3.4", "node:n1", "entity:world"):
        assert verdict([], source, "shop/db") == "allow"


def test_the_source_is_judged_before_the_target():
    both = [egress({"toEndpoints": [{}]}), ingress({}, app="db")]
    found = ask(both, "shop/web", "shop/db")
    assert [(side.direction.name, str(side.answer)) for side in found.sides] == [
        ("EGRESS", "allow"),
        ("INGRESS", "deny"),
    ]
    assert found.decided_by == "ingress: default deny by CiliumNetworkPolicy shop/in spec"
    found = ask([egress({}), ingress({}, app="db")], "shop/web", "shop/db")
    assert [side.direction.name for side in found.sides] == ["EGRESS"]


def test_peers_are_those_of_the_namespace_unless_said():
    rule = ingress({"fromEndpoints": [{}]})
    assert verdict([rule], "shop/db", "shop/web") == "allow"
    assert verdict([rule], "ops/tool", "shop/web") == "deny"
    everywhere = {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "ops"}}
    assert verdict([ingress({"fromEndpoints": [everywhere]})], "ops/tool", "shop/web") == "allow"


def test_namespace_labels_select_peers():
    spec = {
        "podSelector": {},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}],
    }
    rule = obj("networking.k8s.io/v1", "NetworkPolicy", "np", "ops", spec=spec)
    assert verdict([rule], "shop/web", "ops/tool") == "allow"
    spec["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] = {
        "kubernetes.io/metadata.name": "ops"
    }
    assert verdict([rule], "shop/web", "ops/tool") == "deny"


def test_an_address_is_whoever_has_it():
    rule = ingress({"fromEndpoints": [{"matchLabels": {"app": "db"}}]})
    assert verdict([rule], "ip:10.0.2.1", "shop/web") == "allow"
    assert verdict([rule], "shop/db", "ip:10.0.1.1") == "allow"
    assert verdict([rule], "10.0.9.9", "ip:10.0.1.1") == "deny"


def test_own_host_passes_and_other_nodes_are_judged():
    closed = ingress({})
    assert verdict([closed], "node:n1", "shop/web") == "allow"
    assert verdict([closed], "entity:host", "shop/web") == "allow"
    assert verdict([closed], "node:n2", "shop/web") == "deny"
    assert verdict([ingress(entity("remote-node"))], "node:n2", "shop/web") == "allow"
    assert verdict([ingress(entity("host"))], "node:n2", "shop/web") == "deny"


def test_a_pod_in_the_host_network_is_its_node():
    rule = ingress(entity("remote-node"))
    assert verdict([rule], "ops/agent", "shop/web") == "allow"
    assert verdict([ingress({}, app="db")], "ops/agent", "shop/db") == "allow"


def test_a_pod_reaches_its_host_only_if_its_egress_allows():
    assert verdict([egress({"toEntities": ["host"]})], "shop/web", "node:n1") == "allow"
    assert verdict([egress({"toEntities": ["host"]})], "shop/web", "node:n2") == "deny"
    assert verdict([egress({"toEntities": ["host"]})], "shop/web", "entity:host") == "allow"


def test_everyone_reaches_itself():
    assert verdict([ingress({}), egress({})], "shop/web", "shop/web") == "allow"


def test_node_policies_judge_nodes():
    rule = clusterwide(
        "nodes",
        {
            "nodeSelector": {"matchLabels": {"role": "worker"}},
            "ingress": [{"fromEntities": ["world"], "toPorts": [{"ports": [{"port": "22"}]}]}],
        },
    )
    assert verdict([rule], "entity:world", "node:n1", 22) == "allow"
    assert verdict([rule], "entity:world", "node:n1", 23) == "deny"
    assert verdict([rule], "entity:world", "node:n2", 23) == "allow"
    assert verdict([rule], "shop/db", "node:n1", 22) == "deny"


GROUP = obj(
    *("cilium.io/v2", "CiliumCIDRGroup", "offices"), spec={"externalCIDRs": ["203.0.113.0/24"]}
)


@pytest.mark.parametrize(
    ("peers", "inside", "outside"),
    [
        ({"fromCIDR": ["198.51.100.0/24"]}, "198.51.100.7", "198.51.101.7"),
        ({"fromCIDR": ["198.51.100.7"]}, "198.51.100.7", "198.51.100.8"),
        ({"fromCIDR": ["0.0.0.0/0"]}, "198.51.100.7", None),
        ({"fromEntities": ["world"]}, "198.51.100.7", None),
        (
            {"fromCIDRSet": [{"cidr": "198.51.0.0/16", "except": ["198.51.100.0/24"]}]},
            "198.51.1.1",
            "198.51.100.7",
        ),
        ({"fromCIDRSet": [{"cidrGroupRef": "offices"}]}, "203.0.113.9", "203.0.114.9"),
    ],
)
def test_prefixes(peers, inside, outside):
    # A longer prefix that another policy names takes nothing away from a shorter one.
    other = policy(
        "other", {"endpointSelector": {}, "egress": [{"toCIDR": ["198.51.100.7/32"]}]}, "ops"
    )
    rules = [GROUP, other, ingress(peers)]
    assert verdict(rules, f"ip:{inside}", "shop/web") == "allow"
    if outside:
        assert verdict(rules, f"ip:{outside}", "shop/web") == "deny"
    assert verdict(rules, "shop/db", "shop/web") == "deny"


def test_prefixes_do_not_select_pods():
    assert verdict([ingress({"fromCIDR": ["10.0.0.0/8"]})], "shop/db", "shop/web") == "deny"


def test_names_are_those_of_the_policies():
    rule = egress({"toFQDNs": [{"matchPattern": "*.example.com"}]})
    assert verdict([rule], "shop/web", "fqdn:www.example.com") == "allow"
    assert verdict([rule], "shop/web", "fqdn:example.com") == "deny"


def named(port):
    return {"toPorts": [{"ports": [{"port": port, "protocol": "TCP"}]}]}


def test_named_ports_are_the_targets():
    assert verdict([ingress(named("http"))], "shop/db", "shop/web", 8080) == "allow"
    assert verdict([ingress(named("http"))], "shop/db", "shop/web", 80) == "deny"
    out = egress({"toEndpoints": [{}], **named("http")}, app="db")
    assert verdict([out], "shop/db", "shop/web", 8080) == "allow"
    assert verdict([out], "shop/db", "shop/web", 80) == "deny"


SERVICE = obj(
    *("v1", "Service", "web", "shop"),
    spec={
        "clusterIP": "10.96.0.5",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http", "nodePort": 30080}],
    },
)
SLICE = obj(
    *("discovery.k8s.io/v1", "EndpointSlice", "web-1", "shop"),
    {"kubernetes.io/service-name": "web"},
    ports=[{"name": "", "port": 9090, "protocol": "TCP"}],
    endpoints=[
        {"addresses": ["10.0.1.1"]},
        {"addresses": ["10.0.2.1"], "conditions": {"ready": False}},
        {"addresses": ["10.0.2.2"], "conditions": {"ready": True}},
    ],
)


@pytest.mark.parametrize("target", ["ip:10.96.0.5", "svc:shop/web"])
def test_a_service_is_judged_on_its_backends(target):
    rule = egress({"toEndpoints": [{}], **named("8080")}, app="db")
    found = ask([SERVICE, rule], "shop/db", target)
    assert (found.answer, found.service) == ("allow", "shop/web")
    assert (found.target.party.name, found.target.port) == ("shop/web", 8080)
    assert verdict([SERVICE, rule], "shop/db", target, 81) == "deny"


def test_node_ports_are_services():
    assert ask([SERVICE], "shop/db", "node:n2", 30080).service == "shop/web"
    assert ask([SERVICE], "shop/db", "node:n2", 30081).service == ""


def test_backends_come_from_slices_and_the_first_refusal_is_the_answer():
    found = ask([SERVICE, SLICE, ingress({})], "shop/db", "ip:10.96.0.5")
    assert [(b.target.party.name, b.target.port, str(b.answer)) for b in found.backends] == [
        ("shop/web", 9090, "deny"),
        ("ops/tool", 9090, "allow"),
    ]
    assert found.answer == "deny"


def test_a_service_without_backends_refuses():
    empty = obj("v1", "Service", "none", "shop", spec={"ports": [{"port": 80}]})
    found = ask([empty], "shop/db", "svc:shop/none")
    assert found.decided_by == "service shop/none has no ready backend on this port"


def kubernetes(address):
    labels = {"kubernetes.io/service-name": "kubernetes"}
    endpoints = [{"addresses": [address]}]
    name = ("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default")
    return obj(*name, labels, ports=[{"name": "https", "port": 6443}], endpoints=endpoints)


@pytest.mark.parametrize("address", ["192.168.0.2", "172.18.0.9"])
def test_the_api_server_is_where_its_slice_says(address):
    rule = egress({"toEntities": ["kube-apiserver"]})
    objects = [rule, kubernetes(address)]
    assert verdict(objects, "shop/web", f"ip:{address}", 6443) == "allow"
    assert verdict(objects, "shop/web", "entity:kube-apiserver", 6443) == "allow"
    assert verdict(objects, "shop/web", "ip:172.18.0.10", 6443) == "deny"


def test_icmp_is_of_the_family_of_the_target():
    both = [
        pod("old", "web", "10.0.1.9"),
        pod("new", "web", "fd00::9"),
        ingress({"icmps": [{"fields": [{"type": 8}, {"type": "EchoRequest", "family": "IPv6"}]}]}),
    ]
    for icmp in ({"type": "EchoRequest"}, {"type": 8}):
        more = {"protocol": "ICMP", "icmp": icmp, "port": None}
        assert verdict(both, "shop/db", "shop/old", **more) == "allow"
    more = {"protocol": "ICMP", "icmp": {"type": "EchoRequest"}, "port": None}
    assert verdict(both, "shop/db", "shop/new", **more) == "allow"
    assert verdict(both, "shop/db", "shop/new", **more | {"icmp": {"type": 8}}) == "deny"


def test_requests_are_judged_where_the_packet_goes_to_the_proxy():
    rules = {"rules": {"http": [{"method": "GET", "path": "/public/.*"}]}}
    port = {"ports": [{"port": "80", "protocol": "TCP"}]}
    objects = [ingress({"fromEndpoints": [{}], "toPorts": [{**port, **rules}]})]
    assert verdict(objects, "shop/db", "shop/web", http={"path": "/public/a"}) == "allow"
    assert verdict(objects, "shop/db", "shop/web", http={"path": "/a"}) == "http-403"
    assert verdict(objects, "shop/db", "shop/web") == "allow"
    assert verdict(objects, "ops/tool", "shop/web", http={"path": "/public/a"}) == "deny"
    beside = ingress({"fromEndpoints": [{}]})
    beside["metadata"]["name"] = "beside"
    assert verdict([*objects, beside], "shop/db", "shop/web", http={"path": "/a"}) == "allow"


def test_dns_and_kafka_answers():
    dns = {"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchName": "a.b"}]}}
    kafka = {
        "ports": [{"port": "9092", "protocol": "TCP"}],
        "rules": {"kafka": [{"role": "consume", "topic": "t"}]},
    }
    rules = [egress({"toEndpoints": [{}], "toPorts": [dns, kafka]})]
    end = ("shop/web", "shop/db")
    assert verdict(rules, *end, 53, "UDP", dns="a.b.") == "allow"
    assert verdict(rules, *end, 53, "UDP", dns={"query": "c.b"}) == "dns-refused"
    assert verdict(rules, *end, 9092, kafka={"apiKey": "fetch", "topic": "t"}) == "allow"
    assert verdict(rules, *end, 9092, kafka={"apiKey": 1, "topic": "u"}) == "kafka-deny"
    assert verdict(rules, *end, 9092, kafka={"apiKey": 0, "topic": "t"}) == "kafka-deny"


def test_what_is_not_valid_is_left_out_and_listed():
    bad = policy("bad", {"endpointSelector": {}, "ingress": [{"fromEntities": ["nobody"]}]})
    broken = pod("broken", "x", "10.0.0.999")
    shape = obj("v1", "Pod", "shape", "shop", spec={"nodeName": 1})
    world = World([*CLUSTER, bad, broken, shape])
    assert sorted(map(str, world.problems)) == [
        *sorted(
            [
                "Pod shop/broken: address: '10.0.0.999' is no IP address",
                "Pod shop/shape: spec.nodeName: Expected `str`, got `int`",
                next(str(p) for p in world.problems if p.object.endswith("shop/bad")),
            ]
        )
    ]
    assert judge(world, parse_probe({"from": "shop/db", "to": "shop/web", "port": 1})).answer


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("shop/none", "shop/web", "from: no pod shop/none is in the manifests"),
        ("shop/web", "none", "to: no pod default/none is in the manifests"),
        ("node:n9", "shop/web", "from: no node n9 is in the manifests"),
        ("shop/web", "svc:shop/none", "to: no service shop/none is in the manifests"),
        ("svc:shop/web", "shop/web", "from: svc:shop/web: packets come from pods, not from"),
        ("fqdn:a.b", "shop/web", "from: fqdn:a.b: names are for targets; use ip:"),
        ("shop/web", "ip:300.1.1.1", "to: '300.1.1.1' is no IP address"),
        ("shop/web", "entity:all", "to: entity all stands for many or none; name one of them"),
        ("entity:nobody", "shop/web", "from: 'nobody' is no entity; use host, world, unmanaged"),
    ],
)
def test_ends_that_are_not_there(source, target, message):
    with pytest.raises(FieldError) as caught:
        ask([], source, target)
    assert str(caught.value).startswith(message)
