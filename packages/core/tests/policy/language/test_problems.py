# SPDX-License-Identifier: Apache-2.0
"""Every field with something wrong in it, and the exact words that a user sees."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from policy_objects import Object, ccnp, cnp, np

from cilium_core.errors import FieldError
from cilium_core.policy.language import parse, problems

ALL = {"fromEntities": ["all"]}
KEY = (
    "up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, "
    "after a DNS name and '/' if there is one"
)
VALUE = "up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
PORT = "use 0 (every port) to 65535, or the name of a container port"
CIDR = "10.0.0.0/8 or fd00::/8 would be one"


def i(element: Any) -> Object:
    return cnp({"endpointSelector": {}, "ingress": [element]})


def e(element: Any) -> Object:
    return cnp({"endpointSelector": {}, "egress": [element]})


def d(element: Any) -> Object:
    return cnp({"endpointSelector": {}, "ingressDeny": [element]})


def ed(element: Any) -> Object:
    return cnp({"endpointSelector": {}, "egressDeny": [element]})


def sel(selector: Any) -> Object:
    return cnp({"endpointSelector": selector, "ingress": [ALL]})


def port(*entries: Any, **more: Any) -> Object:
    return i({"toPorts": [{"ports": list(entries), **more}]})


def eport(*entries: Any, **more: Any) -> Object:
    return e({"toPorts": [{"ports": list(entries), **more}]})


def http(rule: Any) -> Object:
    return port({"port": "80", "protocol": "TCP"}, rules={"http": [rule]})


def kafka(rule: Any) -> Object:
    return port({"port": "9092", "protocol": "TCP"}, rules={"kafka": [rule]})


def n(spec: Any) -> Object:
    return np({"podSelector": {}, **spec})


Row = tuple[Object, str] | tuple[Object, str, str]


OBJECTS: list[Row] = [
    (
        i(ALL) | {"kind": "CiliumNetworkPolicyy"},
        (
            "kind: 'CiliumNetworkPolicyy' is unknown; use NetworkPolicy, "
            "CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy"
        ),
    ),
    (i(ALL) | {"kind": None}, "kind: a text is needed, not null"),
    (
        i(ALL) | {"apiVersion": "cilium.io/v1"},
        "apiVersion: 'cilium.io/v1' is unknown; use cilium.io/v2",
    ),
    (i(ALL) | {"metadata": {}}, "metadata.name: must not be empty"),
    (
        i(ALL) | {"metadata": {"name": 7}},
        "metadata.name: a text is needed, not 7; put it in quotes",
    ),
    (i(ALL) | {"metadata": []}, "metadata: an object is needed, not a list"),
    (
        i(ALL) | {"metadata": {"name": "a", "namespace": 1}},
        "metadata.namespace: a text is needed, not 1; put it in quotes",
    ),
    (
        i(ALL) | {"spce": {}},
        ("spce: unknown field; apiVersion, kind, metadata, status, spec or specs can stand here"),
    ),
    (
        i(ALL) | {"metadata": {"name": "A b"}},
        "metadata.name: 'A b' is no name: small letters, digits, '-' and '.'",
    ),
    (
        i(ALL) | {"metadata": {"name": "a", "namespace": "x_y"}},
        "metadata.namespace: 'x_y' is no name: small letters, digits, '-' and '.'",
    ),
    (cnp(), "spec: is needed"),
    (cnp(specs=[]), "specs: at least one is needed"),
    (cnp([]), "spec: an object is needed, not a list"),
    (cnp(specs={}), "specs: a list is needed, not an object"),
    (cnp(specs=[None]), "specs[0]: an object is needed, not null"),
    (np(None), "spec: is needed"),
]


SPECS: list[Row] = [
    (
        cnp({}),
        "spec: endpointSelector is needed; {} selects every pod of the namespace",
        ("spec: at least one element in ingress, ingressDeny, egress or egressDeny is needed"),
    ),
    (
        cnp({"endpointSelector": {}}),
        ("spec: at least one element in ingress, ingressDeny, egress or egressDeny is needed"),
    ),
    (
        cnp({"endpointSelector": {}, "ingress": []}),
        ("spec: at least one element in ingress, ingressDeny, egress or egressDeny is needed"),
    ),
    (
        cnp({"endpointSelector": None, "ingress": [ALL]}),
        "spec: endpointSelector is needed; {} selects every pod of the namespace",
    ),
    (
        cnp({"nodeSelector": {}, "ingress": [ALL]}),
        "spec.nodeSelector: the host firewall is not available yet, and only a "
        "CiliumClusterwideNetworkPolicy may select nodes; use endpointSelector",
    ),
    (
        ccnp({"ingress": [ALL]}),
        ("spec: exactly one of endpointSelector and nodeSelector is needed; {} selects all"),
    ),
    (
        ccnp({"nodeSelector": {}, "endpointSelector": {}, "ingress": [ALL]}),
        ("spec: exactly one of endpointSelector and nodeSelector is needed; {} selects all"),
    ),
    (cnp({"endpointSelector": {}, "ingress": {}}), "spec.ingress: a list is needed, not an object"),
    (
        cnp({"endpointSelector": {}, "ingress": ["all"]}),
        "spec.ingress[0]: an object is needed, not 'all'",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [None]}),
        "spec.ingress[0]: an object is needed, not null",
    ),
    (
        cnp({"endpointSelector": {}, "ingres": [ALL], "egress": [{}]}),
        (
            "spec.ingres: unknown field; endpointSelector, nodeSelector, ingress, "
            "ingressDeny, egress, egressDeny, enableDefaultDeny, labels, description "
            "or log can stand here"
        ),
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "enableDefaultDeny": {"ingress": "no"}}),
        "spec.enableDefaultDeny.ingress: true or false is needed, not 'no'",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "enableDefaultDeny": {"both": True}}),
        "spec.enableDefaultDeny.both: unknown field; ingress or egress can stand here",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "description": 1}),
        "spec.description: a text is needed, not 1; put it in quotes",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "labels": [{"value": "x"}]}),
        "spec.labels[0].key: is needed",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "labels": ["a=b"]}),
        "spec.labels[0]: an object is needed, not 'a=b'",
    ),
    (
        cnp({"endpointSelector": {}, "ingress": [ALL], "log": {"value": "x" * 33}}),
        (
            "spec.log.value: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx': up to 32 printable "
            "ASCII characters can stand here"
        ),
    ),
    (
        cnp(
            specs=[
                {"endpointSelector": {}, "ingress": [ALL]},
                {"endpointSelector": {}, "ingress": [{"fromEntities": ["x"]}]},
            ]
        ),
        (
            "specs[1].ingress[0].fromEntities[0]: 'x' is unknown; use all, cluster, "
            "cluster-mesh, world, host, init, ingress, unmanaged, remote-node, "
            "health, kube-apiserver, world-ipv4, world-ipv6 or none"
        ),
    ),
]


SELECTORS: list[Row] = [
    (sel([]), "spec.endpointSelector: an object is needed, not a list"),
    (
        sel({"app": "web"}),
        (
            "spec.endpointSelector.app: unknown field; matchLabels or "
            "matchExpressions can stand here"
        ),
    ),
    (
        sel({"matchLabels": []}),
        "spec.endpointSelector.matchLabels: an object is needed, not a list",
    ),
    (
        sel({"matchLabels": {"app": 1}}),
        ("spec.endpointSelector.matchLabels[app]: a text is needed, not 1; put it in quotes"),
    ),
    (
        sel({"matchLabels": {"app": None}}),
        "spec.endpointSelector.matchLabels[app]: a text is needed, not null",
    ),
    (
        sel({"matchLabels": {"app": "a b"}}),
        "spec.endpointSelector.matchLabels[app]: 'a b' is no label value: " + VALUE,
    ),
    (
        sel({"matchLabels": {"app": "x" * 64}}),
        (
            "spec.endpointSelector.matchLabels[app]: "
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' is no "
            "label value: "
        )
        + VALUE,
    ),
    (
        sel({"matchLabels": {"": "x"}}),
        "spec.endpointSelector.matchLabels[]: '' is no label key: " + KEY,
    ),
    (
        sel({"matchLabels": {"k8s:": "x"}}),
        "spec.endpointSelector.matchLabels[k8s:]: 'k8s:' is no label key: " + KEY,
    ),
    (
        sel({"matchLabels": {":app": "x"}}),
        (
            "spec.endpointSelector.matchLabels[:app]: ':app' is no label key: before "
            "the ':' stands a source, letters and digits"
        ),
    ),
    (
        sel({"matchLabels": {"k8s:a:b": "x"}}),
        "spec.endpointSelector.matchLabels[k8s:a:b]: 'k8s:a:b' is no label key: " + KEY,
    ),
    (
        sel({"matchLabels": {"a/b/c": "x"}}),
        "spec.endpointSelector.matchLabels[a/b/c]: 'a/b/c' is no label key: " + KEY,
    ),
    (
        sel({"matchLabels": {"-a": "x"}}),
        "spec.endpointSelector.matchLabels[-a]: '-a' is no label key: " + KEY,
    ),
    (
        sel({"matchExpressions": {}}),
        "spec.endpointSelector.matchExpressions: a list is needed, not an object",
    ),
    (
        sel({"matchExpressions": [{}]}),
        "spec.endpointSelector.matchExpressions[0].key: is needed",
        "spec.endpointSelector.matchExpressions[0].operator: is needed",
    ),
    (
        sel({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
        (
            "spec.endpointSelector.matchExpressions[0].operator: 'Is' is unknown; use "
            "In, NotIn, Exists or DoesNotExist"
        ),
    ),
    (
        sel({"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "spec.endpointSelector.matchExpressions[0].values: In needs at least one value",
    ),
    (
        sel({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}),
        ("spec.endpointSelector.matchExpressions[0].values: NotIn needs at least one value"),
    ),
    (
        sel({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
        "spec.endpointSelector.matchExpressions[0].values: Exists takes no values",
    ),
    (
        sel({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", 2]}]}),
        (
            "spec.endpointSelector.matchExpressions[0].values[1]: a text is needed, "
            "not 2; put it in quotes"
        ),
    ),
    (
        sel({"matchExpressions": [{"key": "", "operator": "Exists"}]}),
        "spec.endpointSelector.matchExpressions[0].key: must not be empty",
    ),
    (
        sel({"matchExpressions": [{"key": "a b", "operator": "Exists"}]}),
        "spec.endpointSelector.matchExpressions[0].key: 'a b' is no label key: " + KEY,
    ),
    (i({"fromEndpoints": {}}), "spec.ingress[0].fromEndpoints: a list is needed, not an object"),
    (
        i({"fromEndpoints": [[]]}),
        "spec.ingress[0].fromEndpoints[0]: an object is needed, not a list",
    ),
    (
        i({"fromEndpoints": [{"matchLabels": {"a": "!"}}]}),
        "spec.ingress[0].fromEndpoints[0].matchLabels[a]: '!' is no label value: " + VALUE,
    ),
    (
        ccnp({"nodeSelector": {"matchLabels": {"a": "!"}}, "ingress": [ALL]}),
        "spec.nodeSelector.matchLabels[a]: '!' is no label value: " + VALUE,
    ),
]


PEERS: list[Row] = [
    (
        i({"toEndpoints": [{}]}),
        (
            "spec.ingress[0].toEndpoints: unknown field; fromEndpoints, fromEntities, "
            "fromCIDR, fromCIDRSet, toPorts, icmps or authentication can stand here"
        ),
    ),
    (
        e({"fromEndpoints": [{}]}),
        (
            "spec.egress[0].fromEndpoints: unknown field; toEndpoints, toEntities, "
            "toCIDR, toCIDRSet, toFQDNs, toPorts, icmps or authentication can stand "
            "here"
        ),
    ),
    (
        i({"fromEntities": ["everyone"]}),
        (
            "spec.ingress[0].fromEntities[0]: 'everyone' is unknown; use all, "
            "cluster, cluster-mesh, world, host, init, ingress, unmanaged, "
            "remote-node, health, kube-apiserver, world-ipv4, world-ipv6 or none"
        ),
    ),
    *(
        (
            section({f"{prefix}{one}": items[one], f"{prefix}{other}": items[other]}),
            f"spec.{name}[0].{prefix}{other}: not beside {prefix}{one}; "
            "write a rule of its own for it",
        )
        for items in [
            {
                "Endpoints": [{}],
                "Entities": ["host"],
                "CIDR": ["10.0.0.0/8"],
                "CIDRSet": [{"cidr": "10.0.0.0/8"}],
            }
        ]
        for name, section, prefix in (
            ("ingress", i, "from"),
            ("ingressDeny", d, "from"),
            ("egress", e, "to"),
            ("egressDeny", ed, "to"),
        )
        for one, other in combinations(items, 2)
    ),
    (
        e({"toFQDNs": [{"matchName": "a"}], "toEntities": ["world"]}),
        "spec.egress[0].toFQDNs: not beside toEntities; write a rule of its own for it",
    ),
    (i({"fromEntities": "all"}), "spec.ingress[0].fromEntities: a list is needed, not 'all'"),
    (
        i({"fromEntities": [1]}),
        "spec.ingress[0].fromEntities[0]: a text is needed, not 1; put it in quotes",
    ),
    (i({"fromNodes": [{}]}), "spec.ingress[0].fromNodes: not supported by this version"),
    (e({"toNodes": [{}]}), "spec.egress[0].toNodes: not supported by this version"),
    (i({"fromGroups": [{}]}), "spec.ingress[0].fromGroups: not supported by this version"),
    (e({"toGroups": [{}]}), "spec.egress[0].toGroups: not supported by this version"),
    (e({"toServices": [{}]}), "spec.egress[0].toServices: not supported by this version"),
    (
        i({"fromRequires": [{}]}),
        (
            "spec.ingress[0].fromRequires: is no longer part of the language; put the "
            "labels into fromEndpoints"
        ),
    ),
    (
        ed({"toRequires": [{}]}),
        (
            "spec.egressDeny[0].toRequires: is no longer part of the language; put "
            "the labels into toEndpoints"
        ),
    ),
    (
        ed({"toFQDNs": [{"matchName": "a"}]}),
        "spec.egressDeny[0].toFQDNs: a deny rule takes no names; use toCIDR",
    ),
    (
        i({"fromCIDR": ["10.0.0.0/33"]}),
        "spec.ingress[0].fromCIDR[0]: '10.0.0.0/33' is no CIDR; " + CIDR,
    ),
    (i({"fromCIDR": ["ten"]}), "spec.ingress[0].fromCIDR[0]: 'ten' is no CIDR; " + CIDR),
    (i({"fromCIDR": [""]}), "spec.ingress[0].fromCIDR[0]: must not be empty"),
    (
        i({"fromCIDR": [10]}),
        "spec.ingress[0].fromCIDR[0]: a text is needed, not 10; put it in quotes",
    ),
    (
        i({"fromCIDR": [" 10.0.0.0/8"]}),
        "spec.ingress[0].fromCIDR[0]: ' 10.0.0.0/8' is no CIDR; " + CIDR,
    ),
    (
        i({"fromCIDR": ["10.0.0.0/255.0.0.0"]}),
        "spec.ingress[0].fromCIDR[0]: '10.0.0.0/255.0.0.0' is no CIDR; " + CIDR,
    ),
    (
        i({"fromCIDR": ["10.0.0.0/08"]}),
        "spec.ingress[0].fromCIDR[0]: '10.0.0.0/08' is no CIDR; " + CIDR,
    ),
    (
        i({"fromCIDR": ["fe80::1%eth0"]}),
        "spec.ingress[0].fromCIDR[0]: 'fe80::1%eth0' is no CIDR; " + CIDR,
    ),
    (
        i({"fromCIDR": ["::ffff:10.0.0.0/104"]}),
        (
            "spec.ingress[0].fromCIDR[0]: '::ffff:10.0.0.0/104' is an IPv4 address "
            "inside IPv6; write it as IPv4"
        ),
    ),
    (
        e({"toCIDRSet": ["10.0.0.0/8"]}),
        "spec.egress[0].toCIDRSet[0]: an object is needed, not '10.0.0.0/8'",
    ),
    (
        e({"toCIDRSet": [{}]}),
        (
            "spec.egress[0].toCIDRSet[0]: exactly one of cidr, cidrGroupRef and "
            "cidrGroupSelector is needed"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.0/8", "cidrGroupRef": "a"}]}),
        (
            "spec.egress[0].toCIDRSet[0]: exactly one of cidr, cidrGroupRef and "
            "cidrGroupSelector is needed"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.1"}]}),
        ("spec.egress[0].toCIDRSet[0].cidr: '10.0.0.1' is no CIDR, the prefix length is missing; ")
        + CIDR,
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}),
        (
            "spec.egress[0].toCIDRSet[0].except[0]: '11.0.0.0/16' is not inside "
            "10.0.0.0/8, so nothing is left out"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["fd00::/16"]}]}),
        (
            "spec.egress[0].toCIDRSet[0].except[0]: 'fd00::/16' is not inside "
            "10.0.0.0/8, so nothing is left out"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.1"]}]}),
        (
            "spec.egress[0].toCIDRSet[0].except[0]: '10.0.0.1' is no CIDR, the prefix "
            "length is missing; "
        )
        + CIDR,
    ),
    (
        e({"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"}]}),
        "spec.egress[0].toCIDRSet[0].except: a list is needed, not '10.1.0.0/16'",
    ),
    (
        e({"toCIDRSet": [{"cidrGroupRef": "My_Group"}]}),
        (
            "spec.egress[0].toCIDRSet[0].cidrGroupRef: 'My_Group' cannot be the name "
            "of a CiliumCIDRGroup"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidrGroupSelector": {}}]}),
        (
            "spec.egress[0].toCIDRSet[0].cidrGroupSelector: needs matchLabels, In or "
            "Exists: without them it would also select what is in no group"
        ),
    ),
    (
        e({"toCIDRSet": [{"cidrGroupSelector": {"matchLabels": {"k8s:a": "b"}}}]}),
        (
            "spec.egress[0].toCIDRSet[0].cidrGroupSelector.matchLabels[k8s:a]: "
            "'k8s:a' is no label key: "
        )
        + KEY,
        (
            "spec.egress[0].toCIDRSet[0].cidrGroupSelector: needs matchLabels, In or "
            "Exists: without them it would also select what is in no group"
        ),
    ),
    (
        e(
            {
                "toCIDRSet": [
                    {
                        "cidrGroupSelector": {
                            "matchExpressions": [
                                {
                                    "key": "a",
                                    "operator": "In",
                                    "values": [str(n) for n in range(101)],
                                }
                            ]
                        }
                    }
                ]
            }
        ),
        (
            "spec.egress[0].toCIDRSet[0].cidrGroupSelector: has 101 combinations of "
            "values; 100 are the most"
        ),
    ),
    (
        e({"toFQDNs": [{}]}),
        ("spec.egress[0].toFQDNs[0]: matchName or matchPattern is needed ('*' is every name)"),
    ),
    (
        e({"toFQDNs": [{"matchName": "a", "matchPattern": "*"}]}),
        "spec.egress[0].toFQDNs[0]: either matchName or matchPattern, not both",
    ),
    (
        e({"toFQDNs": [{"matchName": "*.io"}]}),
        (
            "spec.egress[0].toFQDNs[0].matchName: '*.io' is no DNS name: letters, "
            "digits, '-', '_', with single dots between; 255 characters are the most"
        ),
    ),
    (
        e({"toFQDNs": [{"matchPattern": "a..b"}]}),
        (
            "spec.egress[0].toFQDNs[0].matchPattern: 'a..b' is no DNS pattern: "
            "letters, digits, '-', '_', '*', with single dots between; 255 characters "
            "are the most"
        ),
    ),
    (
        e({"toFQDNs": [{"matchPattern": ""}]}),
        "spec.egress[0].toFQDNs[0].matchPattern: must not be empty",
    ),
    (
        e({"toFQDNs": ["cilium.io"]}),
        "spec.egress[0].toFQDNs[0]: an object is needed, not 'cilium.io'",
    ),
    (
        i({**ALL, "authentication": {}}),
        ("spec.ingress[0].authentication.mode: is needed: disabled, required or test-always-fail"),
    ),
    (
        i({**ALL, "authentication": {"mode": "required"}}),
        (
            "spec.ingress[0].authentication.mode: required is not supported by this "
            "version; leave it out or use disabled"
        ),
    ),
    (
        i({**ALL, "authentication": {"mode": "test-always-fail"}}),
        (
            "spec.ingress[0].authentication.mode: test-always-fail is not supported "
            "by this version; leave it out or use disabled"
        ),
    ),
    (
        i({**ALL, "authentication": {"mode": "on"}}),
        (
            "spec.ingress[0].authentication.mode: 'on' is unknown; use disabled, "
            "required or test-always-fail"
        ),
    ),
    (
        d({**ALL, "authentication": {"mode": "disabled"}}),
        "spec.ingressDeny[0].authentication: a deny rule takes none",
    ),
]


PORTS: list[Row] = [
    (i({"toPorts": {}}), "spec.ingress[0].toPorts: a list is needed, not an object"),
    (i({"toPorts": [80]}), "spec.ingress[0].toPorts[0]: an object is needed, not 80"),
    (
        i({"toPorts": [{"port": "80"}]}),
        (
            "spec.ingress[0].toPorts[0].port: unknown field; ports, rules or "
            "serverNames can stand here"
        ),
    ),
    (
        port({}),
        ("spec.ingress[0].toPorts[0].ports[0]: a port (0 for every port) or a protocol is needed"),
    ),
    (port("80"), "spec.ingress[0].toPorts[0].ports[0]: an object is needed, not '80'"),
    (
        port({"port": 80}),
        ("spec.ingress[0].toPorts[0].ports[0].port: a text is needed, not 80; put it in quotes"),
    ),
    (port({"port": ""}), "spec.ingress[0].toPorts[0].ports[0].port: must not be empty"),
    (
        port({"port": "65536"}),
        "spec.ingress[0].toPorts[0].ports[0].port: '65536' is no port; " + PORT,
    ),
    (port({"port": "080"}), "spec.ingress[0].toPorts[0].ports[0].port: '080' is no port; " + PORT),
    (
        port({"port": "-1"}),
        "spec.ingress[0].toPorts[0].ports[0].port: '-1' is no port; "
        + PORT
        + " (up to 15 letters, digits, '-')",
    ),
    (
        port({"port": "1-2"}),
        "spec.ingress[0].toPorts[0].ports[0].port: '1-2' is no port; "
        + PORT
        + " (up to 15 letters, digits, '-')",
    ),
    (
        port({"port": "a-name-that-is-long"}),
        "spec.ingress[0].toPorts[0].ports[0].port: 'a-name-that-is-long' is no port; "
        + PORT
        + " (up to 15 letters, digits, '-')",
    ),
    (
        port({"port": "http--x"}),
        "spec.ingress[0].toPorts[0].ports[0].port: 'http--x' is no port; "
        + PORT
        + " (up to 15 letters, digits, '-')",
    ),
    (
        port({"port": "80", "protocol": "QUIC"}),
        (
            "spec.ingress[0].toPorts[0].ports[0].protocol: 'QUIC' is unknown; use "
            "TCP, UDP, SCTP, ICMP, ICMPV6, ANY, VRRP or IGMP"
        ),
    ),
    (
        port({"port": "80", "protocol": 6}),
        ("spec.ingress[0].toPorts[0].ports[0].protocol: a text is needed, not 6; put it in quotes"),
    ),
    (
        port({"port": "80", "endPort": "90"}),
        (
            "spec.ingress[0].toPorts[0].ports[0].endPort: a number is needed, not "
            "'90'; leave the quotes out"
        ),
    ),
    (
        port({"port": "80", "endPort": 70}),
        "spec.ingress[0].toPorts[0].ports[0].endPort: 70 is before the port 80",
    ),
    (
        port({"port": "80", "endPort": 65536}),
        ("spec.ingress[0].toPorts[0].ports[0].endPort: 65536 is out of range; use 0 to 65535"),
    ),
    (
        port({"port": "80", "endPort": True}),
        "spec.ingress[0].toPorts[0].ports[0].endPort: a number is needed, not true",
    ),
    (
        port({"port": "http", "endPort": 90}),
        (
            "spec.ingress[0].toPorts[0].ports[0].endPort: only beside a port that is "
            "a number, and not 0"
        ),
    ),
    (
        port({"port": "0", "endPort": 90}),
        (
            "spec.ingress[0].toPorts[0].ports[0].endPort: only beside a port that is "
            "a number, and not 0"
        ),
    ),
    (
        port({"protocol": "TCP", "endPort": 90}),
        (
            "spec.ingress[0].toPorts[0].ports[0].endPort: only beside a port that is "
            "a number, and not 0"
        ),
    ),
    (
        port({"port": "256", "protocol": "ICMP"}),
        "spec.ingress[0].toPorts[0].ports[0].port: a type of ICMP goes up to 255",
    ),
    (
        port({"port": "8", "endPort": 300, "protocol": "ICMP"}),
        "spec.ingress[0].toPorts[0].ports[0].endPort: a type of ICMP goes up to 255",
    ),
    (
        port({"port": "echo", "protocol": "ICMP"}),
        (
            "spec.ingress[0].toPorts[0].ports[0].port: beside ICMP the type of the "
            "message stands here"
        ),
    ),
    (
        port({"port": "80", "protocol": "VRRP"}),
        ("spec.ingress[0].toPorts[0].ports[0].port: VRRP has no ports; leave it out, or use 0"),
    ),
    (port(*[{"port": "1"}] * 41), "spec.ingress[0].toPorts[0].ports: 41 ports; 40 are the most"),
    (
        port({"port": "80", "name": "x"}),
        (
            "spec.ingress[0].toPorts[0].ports[0].name: unknown field; port, endPort "
            "or protocol can stand here"
        ),
    ),
    (
        i({"toPorts": [{"ports": [{"port": "80"}]}], "icmps": [{"fields": [{"type": 8}]}]}),
        "spec.ingress[0].icmps: not beside toPorts; write a rule of its own for ICMP",
    ),
    (i({"icmps": {}}), "spec.ingress[0].icmps: a list is needed, not an object"),
    (
        i({"icmps": [{"fields": [{}]}]}),
        ("spec.ingress[0].icmps[0].fields[0].type: is needed: a number from 0 to 255 or a name"),
    ),
    (
        i({"icmps": [{"fields": [{"type": 256}]}]}),
        "spec.ingress[0].icmps[0].fields[0].type: 256 is out of range; use 0 to 255",
    ),
    (
        i({"icmps": [{"fields": [{"type": "256"}]}]}),
        (
            "spec.ingress[0].icmps[0].fields[0].type: '256' is no type of ICMP over "
            "IPv4; use 0 to 255, or a name such as EchoRequest"
        ),
    ),
    (
        i({"icmps": [{"fields": [{"type": "PacketTooBig"}]}]}),
        (
            "spec.ingress[0].icmps[0].fields[0].type: 'PacketTooBig' is no type of "
            "ICMP over IPv4; use 0 to 255, or a name such as EchoRequest"
        ),
    ),
    (
        i({"icmps": [{"fields": [{"type": 8, "family": "IPv5"}]}]}),
        "spec.ingress[0].icmps[0].fields[0].family: 'IPv5' is unknown; use IPv4 or IPv6",
    ),
    (
        i({"icmps": [{"fields": [{"type": 8}] * 41}]}),
        "spec.ingress[0].icmps[0].fields: 41 types; 40 are the most",
    ),
    (
        i({"icmps": [{"fields": [{"type": 8, "code": 0}]}]}),
        ("spec.ingress[0].icmps[0].fields[0].code: unknown field; family or type can stand here"),
    ),
]


L7: list[Row] = [
    (
        d({"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]}),
        "spec.ingressDeny[0].toPorts[0].rules: a deny rule takes ports only",
    ),
    (
        d({"toPorts": [{"ports": [{"port": "80"}], "serverNames": ["a"]}]}),
        "spec.ingressDeny[0].toPorts[0].serverNames: a deny rule takes ports only",
    ),
    (
        ed({"toPorts": [{"ports": [{"port": "80"}], "listener": {}}]}),
        "spec.egressDeny[0].toPorts[0].listener: a deny rule takes ports only",
    ),
    (
        eport({"port": "443"}, terminatingTLS={}),
        "spec.egress[0].toPorts[0].terminatingTLS: not supported by this version",
    ),
    (
        eport({"port": "443"}, originatingTLS={}),
        "spec.egress[0].toPorts[0].originatingTLS: not supported by this version",
    ),
    (
        eport({"port": "443"}, listener={}),
        "spec.egress[0].toPorts[0].listener: not supported by this version",
    ),
    (
        port({"port": "80"}, rules={"http": [{}]}),
        ("spec.ingress[0].toPorts[0].ports[0].protocol: HTTP rules go over TCP, not over ANY"),
    ),
    (
        port({"port": "80", "protocol": "UDP"}, rules={"http": [{}]}),
        ("spec.ingress[0].toPorts[0].ports[0].protocol: HTTP rules go over TCP, not over UDP"),
    ),
    (
        port({"port": "0", "protocol": "TCP"}, rules={"http": [{}]}),
        "spec.ingress[0].toPorts[0].ports[0].port: HTTP rules need a port that is not 0",
    ),
    (
        port({"protocol": "TCP"}, rules={"http": [{}]}),
        "spec.ingress[0].toPorts[0].ports[0].port: HTTP rules need a port that is not 0",
    ),
    (
        port({"port": "80", "protocol": "TCP"}, rules={"http": [{}], "kafka": [{}]}),
        "spec.ingress[0].toPorts[0].rules: only one of http or kafka",
    ),
    (
        i({"toPorts": [{"rules": {"http": [{}]}}]}),
        ("spec.ingress[0].toPorts[0].ports: is needed: the ports that the HTTP rules are for"),
    ),
    (
        port({"port": "80", "protocol": "TCP"}, rules={"http": {}}),
        "spec.ingress[0].toPorts[0].rules.http: a list is needed, not an object",
    ),
    (
        port({"port": "80", "protocol": "TCP"}, rules={"http": ["GET"]}),
        "spec.ingress[0].toPorts[0].rules.http[0]: an object is needed, not 'GET'",
    ),
    (
        port({"port": "80", "protocol": "TCP"}, rules={"l7proto": "x", "l7": []}),
        "spec.ingress[0].toPorts[0].rules.l7proto: not supported by this version",
        "spec.ingress[0].toPorts[0].rules.l7: not supported by this version",
    ),
    (
        port({"port": "80", "protocol": "TCP"}, rules={"grpc": [{}]}),
        ("spec.ingress[0].toPorts[0].rules.grpc: unknown field; http, kafka or dns can stand here"),
    ),
    (
        http({"path": "("}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].path: '(' is no regular "
            "expression: missing ), unterminated subpattern at position 0"
        ),
    ),
    (
        http({"method": "[A-"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].method: '[A-' is no regular "
            "expression: unterminated character set at position 0"
        ),
    ),
    (
        http({"host": "*"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].host: '*' is no regular "
            "expression: nothing to repeat at position 0"
        ),
    ),
    (
        http({"path": "/a(?=b)"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].path: '/a(?=b)': '(?=' is not "
            "part of RE2's expressions"
        ),
    ),
    (
        http({"path": r"(a)\1"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].path: '(a)\\\\1': '\\\\1' is not "
            "part of RE2's expressions"
        ),
    ),
    (
        http({"path": "a*+"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].path: 'a*+': '*+' is not part "
            "of RE2's expressions"
        ),
    ),
    (
        http({"path": r"/\u0041"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "path: '/\\\\u0041': '\\\\u' is not part of RE2's expressions"
        ),
    ),
    (
        http({"path": r"/[\1]"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "path: '/[\\\\1]': '\\\\1' is not part of RE2's expressions"
        ),
    ),
    (
        http({"path": "(?x)/a"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "path: '(?x)/a': '(?x' is not part of RE2's expressions"
        ),
    ),
    (
        http({"path": "/a{1001}"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "path: '/a{1001}' repeats 1001 times; 1000 are the most"
        ),
    ),
    (
        http({"path": "/(a{40}b){30}"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "path: '/(a{40}b){30}' repeats 1200 times; 1000 are the most"
        ),
    ),
    (
        http({"headers": ["X Y", "X\nY: 1"]}),
        "spec.ingress[0].toPorts[0].rules.http[0].headers[1]: 'X\\nY' is no name of a header",
    ),
    (
        http({"headers": ["X: a\rb"]}),
        "spec.ingress[0].toPorts[0].rules.http[0].headers[0]: '\\r' cannot stand in a header",
    ),
    (
        http({"headerMatches": [{"name": "X Y", "value": "1"}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "headerMatches[0].name: 'X Y' is no name of a header"
        ),
    ),
    (
        http({"headerMatches": [{"name": "X", "value": "a\nb"}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "headerMatches[0].value: '\\n' cannot stand in a header"
        ),
    ),
    (
        http({"headerMatches": [{"name": "Host", "value": "a", "mismatch": "ADD"}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "headerMatches[0].name: 'Host' may be compared, not changed"
        ),
    ),
    (
        http({"headerMatches": [{"name": ":path", "value": "a", "mismatch": "REPLACE"}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "headerMatches[0].name: ':path' may be compared, not changed"
        ),
    ),
    (
        http(
            {
                "headerMatches": [
                    {"name": f"X{n}", "value": "a", "mismatch": "ADD"} for n in range(5)
                ]
            }
        ),
        (
            "spec.ingress[0].toPorts[0].rules.http[0]."
            "headerMatches: 5 headers to add or delete; 4 are the most"
        ),
    ),
    (
        http({"path": 1}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].path: a text is needed, not 1; "
            "put it in quotes"
        ),
    ),
    (
        http({"headers": [""]}),
        "spec.ingress[0].toPorts[0].rules.http[0].headers[0]: must not be empty",
    ),
    (
        http({"headers": "X"}),
        "spec.ingress[0].toPorts[0].rules.http[0].headers: a list is needed, not 'X'",
    ),
    (
        http({"headerMatches": [{}]}),
        ("spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].name: is needed: the header"),
    ),
    (
        http({"headerMatches": [{"name": "X", "mismatch": "DROP"}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].mismatch: "
            "'DROP' is unknown; use LOG, ADD, DELETE or REPLACE"
        ),
    ),
    (
        http({"headerMatches": [{"name": "X", "secret": {}}]}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].secret.name: "
            "is needed: the secret"
        ),
    ),
    (
        http({"url": "/"}),
        (
            "spec.ingress[0].toPorts[0].rules.http[0].url: unknown field; host, "
            "method, path, headers or headerMatches can stand here"
        ),
    ),
    (
        port({"port": "53"}, rules={"dns": [{"matchPattern": "*"}]}),
        "spec.ingress[0].toPorts[0].rules.dns: DNS rules are for egress only",
    ),
    (
        eport({"port": "53", "protocol": "SCTP"}, rules={"dns": [{"matchPattern": "*"}]}),
        (
            "spec.egress[0].toPorts[0].ports[0].protocol: DNS rules go over UDP, TCP "
            "or ANY, not over SCTP"
        ),
    ),
    (
        eport({"port": "53", "endPort": 54}, rules={"dns": [{"matchPattern": "*"}]}),
        ("spec.egress[0].toPorts[0].ports[0].endPort: DNS rules take single ports, no ranges"),
    ),
    (
        eport({"port": "0"}, rules={"dns": [{"matchPattern": "*"}]}),
        "spec.egress[0].toPorts[0].ports[0].port: DNS rules need a port that is not 0",
    ),
    (
        eport({"port": "53"}, rules={"dns": [{}]}),
        (
            "spec.egress[0].toPorts[0].rules.dns[0]: matchName or matchPattern is "
            "needed ('*' is every name)"
        ),
    ),
    (
        eport({"port": "53"}, rules={"dns": [{"matchName": "*"}]}),
        (
            "spec.egress[0].toPorts[0].rules.dns[0].matchName: '*' is no DNS name: "
            "letters, digits, '-', '_', with single dots between; 255 characters are "
            "the most"
        ),
    ),
    (
        kafka({"role": "x"}),
        ("spec.ingress[0].toPorts[0].rules.kafka[0].role: 'x' is unknown; use produce or consume"),
    ),
    (
        kafka({"role": "produce", "apiKey": "fetch"}),
        "spec.ingress[0].toPorts[0].rules.kafka[0]: either role or apiKey, not both",
    ),
    (
        kafka({"apiKey": "x"}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].apiKey: 'x' is unknown; use "
            "produce, fetch, offsets, metadata, leaderandisr, stopreplica, "
            "updatemetadata, controlledshutdown, offsetcommit, offsetfetch, "
            "findcoordinator, joingroup, heartbeat, leavegroup, syncgroup, "
            "describegroups, listgroups, saslhandshake, apiversions, createtopics, "
            "deletetopics, deleterecords, initproducerid, offsetforleaderepoch, "
            "addpartitionstotxn, addoffsetstotxn, endtxn, writetxnmarkers, "
            "txnoffsetcommit, describeacls, createacls, deleteacls, describeconfigs "
            "or alterconfigs"
        ),
    ),
    (
        kafka({"apiVersion": 3}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].apiVersion: a text is needed, "
            "not 3; put it in quotes"
        ),
    ),
    (
        kafka({"apiVersion": "v3"}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].apiVersion: 'v3' is no version "
            "of a request; use 0 to 32767, as a text"
        ),
    ),
    (
        kafka({"topic": "a b"}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].topic: 'a b' is no topic: up "
            "to 255 letters, digits, '.', '_' and '-'"
        ),
    ),
    (
        kafka({"topic": "x" * 256}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].topic: "
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… "
            "is no topic: up to 255 letters, digits, '.', '_' and '-'"
        ),
    ),
    (
        kafka({"clientID": 1}),
        (
            "spec.ingress[0].toPorts[0].rules.kafka[0].clientID: a text is needed, "
            "not 1; put it in quotes"
        ),
    ),
    (
        eport({"port": "443"}, serverNames=[]),
        "spec.egress[0].toPorts[0].serverNames: at least one name is needed",
    ),
    (
        eport({"port": "443"}, serverNames=[""]),
        "spec.egress[0].toPorts[0].serverNames[0]: must not be empty",
    ),
    (
        eport({"port": "443"}, serverNames=["a b"]),
        (
            "spec.egress[0].toPorts[0].serverNames[0]: 'a b' is no DNS pattern: "
            "letters, digits, '-', '_', '*', with single dots between; 255 characters "
            "are the most"
        ),
    ),
    (
        eport({"port": "443", "protocol": "UDP"}, serverNames=["a"]),
        (
            "spec.egress[0].toPorts[0].ports[0].protocol: server names go over TCP or "
            "ANY, not over UDP"
        ),
    ),
    (
        eport({"port": "443", "protocol": "TCP"}, serverNames=["a"], rules={"http": [{}]}),
        (
            "spec.egress[0].toPorts[0].serverNames: not beside rules: the proxy would "
            "have to terminate TLS, which is not supported by this version"
        ),
    ),
    (
        ccnp(
            {
                "nodeSelector": {},
                "ingress": [
                    {
                        "toPorts": [
                            {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}
                        ]
                    }
                ],
            }
        ),
        (
            "spec.ingress[0].toPorts[0].rules.http: not for nodes: DNS rules at "
            "egress are the only application rules there"
        ),
    ),
    (
        ccnp(
            {
                "nodeSelector": {},
                "egress": [
                    {
                        "toPorts": [
                            {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}
                        ]
                    }
                ],
            }
        ),
        (
            "spec.egress[0].toPorts[0].rules.http: not for nodes: DNS rules at egress "
            "are the only application rules there"
        ),
    ),
]


KUBERNETES: list[Row] = [
    (np([]), "spec: an object is needed, not a list"),
    (
        n({"policyTypes": ["ingress"]}),
        "spec.policyTypes[0]: 'ingress' is unknown; use Ingress or Egress",
    ),
    (n({"policyTypes": "Ingress"}), "spec.policyTypes: a list is needed, not 'Ingress'"),
    (
        n({"podselector": {}}),
        (
            "spec.podselector: unknown field; podSelector, policyTypes, ingress or "
            "egress can stand here"
        ),
    ),
    (np({"podSelector": []}), "spec.podSelector: an object is needed, not a list"),
    (n({"ingress": {}}), "spec.ingress: a list is needed, not an object"),
    (
        n({"ingress": [{"to": []}]}),
        "spec.ingress[0].to: unknown field; from or ports can stand here",
    ),
    (
        n({"ingress": [{"from": [{}]}]}),
        (
            "spec.ingress[0].from[0]: at least one of podSelector, namespaceSelector "
            "and ipBlock is needed"
        ),
    ),
    (n({"ingress": [{"from": {}}]}), "spec.ingress[0].from: a list is needed, not an object"),
    (
        n({"ingress": [{"from": [{"ipBlock": {}}]}]}),
        "spec.ingress[0].from[0].ipBlock.cidr: is needed",
    ),
    (
        n({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}),
        (
            "spec.ingress[0].from[0].ipBlock.cidr: '10.0.0.1' is no CIDR, the prefix "
            "length is missing; "
        )
        + CIDR,
    ),
    (
        n(
            {
                "ingress": [
                    {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}
                ]
            }
        ),
        (
            "spec.ingress[0].from[0].ipBlock.except[0]: '11.0.0.0/16' is not inside "
            "10.0.0.0/8, so nothing is left out"
        ),
    ),
    (
        n({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}),
        (
            "spec.ingress[0].from[0]: ipBlock stands alone, not beside podSelector or "
            "namespaceSelector"
        ),
    ),
    (
        n({"ingress": [{"from": [{"podSelector": {"matchLabels": {"k8s:a": "b"}}}]}]}),
        ("spec.ingress[0].from[0].podSelector.matchLabels[k8s:a]: 'k8s:a' is no label key: ") + KEY,
    ),
    (
        n(
            {
                "ingress": [
                    {
                        "from": [
                            {
                                "namespaceSelector": {
                                    "matchExpressions": [{"key": "a", "operator": "In"}]
                                }
                            }
                        ]
                    }
                ]
            }
        ),
        (
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values: In "
            "needs at least one value"
        ),
    ),
    (n({"ingress": [{"ports": {}}]}), "spec.ingress[0].ports: a list is needed, not an object"),
    (
        n({"ingress": [{"ports": [{"port": 0}]}]}),
        "spec.ingress[0].ports[0].port: 0 is out of range; use 1 to 65535",
    ),
    (
        n({"ingress": [{"ports": [{"port": 65536}]}]}),
        "spec.ingress[0].ports[0].port: 65536 is out of range; use 1 to 65535",
    ),
    (
        n({"ingress": [{"ports": [{"port": "80"}]}]}),
        (
            "spec.ingress[0].ports[0].port: a text here is a port's name; write a "
            "number without quotes"
        ),
    ),
    (
        n({"ingress": [{"ports": [{"port": "http_x"}]}]}),
        (
            "spec.ingress[0].ports[0].port: 'http_x' is no port; use the name of a "
            "container port (up to 15 letters, digits, '-')"
        ),
    ),
    (
        n({"ingress": [{"ports": [{"port": True}]}]}),
        "spec.ingress[0].ports[0].port: a number is needed, not true",
    ),
    (
        n({"ingress": [{"ports": [{"protocol": "tcp"}]}]}),
        "spec.ingress[0].ports[0].protocol: 'tcp' is unknown; use TCP, UDP or SCTP",
    ),
    (
        n({"ingress": [{"ports": [{"protocol": "ICMP"}]}]}),
        "spec.ingress[0].ports[0].protocol: 'ICMP' is unknown; use TCP, UDP or SCTP",
    ),
    (
        n({"ingress": [{"ports": [{"endPort": 90}]}]}),
        "spec.ingress[0].ports[0].endPort: only beside a port that is a number",
    ),
    (
        n({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}),
        "spec.ingress[0].ports[0].endPort: only beside a port that is a number",
    ),
    (
        n({"ingress": [{"ports": [{"port": 80, "endPort": 70}]}]}),
        "spec.ingress[0].ports[0].endPort: 70 is before the port 80",
    ),
    (
        n({"egress": [{"from": []}]}),
        "spec.egress[0].from: unknown field; to or ports can stand here",
    ),
    (
        n({"ingress": [{"ports": [{"port": 0}]}], "policyTypes": ["Egress"]}),
        "spec.ingress[0].ports[0].port: 0 is out of range; use 1 to 65535",
    ),
]


@pytest.mark.parametrize(
    "row", [*OBJECTS, *SPECS, *SELECTORS, *PEERS, *PORTS, *L7, *KUBERNETES], ids=lambda row: row[1]
)
def test_messages(row: Row) -> None:
    obj, *expected = row
    assert [str(each) for each in problems(obj)] == expected
    with pytest.raises(FieldError) as caught:
        parse(obj, "lab")
    assert str(caught.value) == expected[0]


def test_one_bad_rule_leaves_no_policy_at_all() -> None:
    good = {"endpointSelector": {}, "ingress": [ALL]}
    bad = {"endpointSelector": {}, "egress": [{"toPorts": [{"ports": [{"port": "x y"}]}]}]}
    with pytest.raises(
        FieldError, match=r"^specs\[1\]\.egress\[0\]\.toPorts\[0\]\.ports\[0\]\.port:"
    ):
        parse(cnp(good, specs=[good, bad]), "lab")


def test_all_mistakes_are_found_at_once() -> None:
    obj = cnp(
        {
            "endpointSelector": {"matchLabels": {"a": "b c"}},
            "ingress": [{"fromEntities": ["x"]}, {"fromCIDR": ["y"]}],
            "egress": [
                {"toPorts": [{"ports": [{"port": "80", "protocol": "X"}, {"port": "70000"}]}]}
            ],
            "extra": 1,
        }
    )
    assert [each.field for each in problems(obj)] == [
        "spec.extra",
        "spec.endpointSelector.matchLabels[a]",
        "spec.ingress[0].fromEntities[0]",
        "spec.ingress[1].fromCIDR[0]",
        "spec.egress[0].toPorts[0].ports[0].protocol",
        "spec.egress[0].toPorts[0].ports[1].port",
    ]


@pytest.mark.parametrize(("obj", "what"), [([], "a list"), ("x", "'x'"), (1, "1"), (None, "null")])
def test_no_object(obj: Any, what: str) -> None:
    assert [str(each) for each in problems(obj)] == [f"object: an object is needed, not {what}"]
