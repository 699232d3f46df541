# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy: policies and, written by hand beside each, who still reaches whom."""

from __future__ import annotations

from e2e.policy.case import Case, at, labels, np

NETWORK_POLICIES = (
    Case(
        "deny all ingress",
        (np({"podSelector": {}, "policyTypes": ["Ingress"]}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "deny all egress",
        (np({"podSelector": {}, "policyTypes": ["Egress"]}),),
        lambda s, t, port, proto: not at(s, "x"),
    ),
    Case(
        "deny all, both ways",
        (np({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),),
        lambda s, t, port, proto: not (at(s, "x") or at(t, "x")),
    ),
    Case(
        "types from the sections: no policyTypes means ingress",
        (np({"podSelector": {}}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "egress without policyTypes turns default deny on for ingress too",
        (np({"podSelector": labels(pod="a"), "egress": [{}]}),),
        lambda s, t, port, proto: not at(t, "x/a"),
    ),
    Case(
        "allow all ingress beside deny all",
        (
            np({"podSelector": {}, "policyTypes": ["Ingress"]}),
            np({"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}, name="all"),
        ),
        lambda s, t, port, proto: True,
    ),
    Case(
        "one pod is selected",
        (np({"podSelector": labels(pod="a"), "policyTypes": ["Ingress"]}),),
        lambda s, t, port, proto: not at(t, "x/a"),
    ),
    Case(
        "from pods of the own namespace",
        (np({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or at(s, "x"),
    ),
    Case(
        "from a namespace by its label",
        (
            np(
                {
                    "podSelector": {},
                    "ingress": [{"from": [{"namespaceSelector": labels(ns="y")}]}],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "y"),
    ),
    Case(
        "from a pod in a namespace (both must hold)",
        (
            np(
                {
                    "podSelector": labels(pod="a"),
                    "ingress": [
                        {
                            "from": [
                                {
                                    "namespaceSelector": labels(ns="y"),
                                    "podSelector": labels(pod="b"),
                                }
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x/a") or at(s, "y/b"),
    ),
    Case(
        "from a namespace or a pod (either)",
        (
            np(
                {
                    "podSelector": labels(pod="a"),
                    "ingress": [
                        {
                            "from": [
                                {"namespaceSelector": labels(ns="y")},
                                {"podSelector": labels(pod="b")},
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x/a") or at(s, "y") or at(s, "x/b"),
    ),
    Case(
        "namespace expressions",
        (
            np(
                {
                    "podSelector": {},
                    "ingress": [
                        {
                            "from": [
                                {
                                    "namespaceSelector": {
                                        "matchExpressions": [
                                            {
                                                "key": "ns",
                                                "operator": "NotIn",
                                                "values": ["x", "y"],
                                            },
                                            {"key": "ns", "operator": "Exists"},
                                        ]
                                    }
                                }
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "z"),
    ),
    Case(
        "a port",
        (np({"podSelector": {}, "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or (port, proto) == (80, "tcp"),
    ),
    Case(
        "a port of UDP",
        (np({"podSelector": {}, "ingress": [{"ports": [{"port": 81, "protocol": "UDP"}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or (port, proto) == (81, "udp"),
    ),
    Case(
        "a protocol without a port",
        (np({"podSelector": {}, "ingress": [{"ports": [{"protocol": "UDP"}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or proto == "udp",
    ),
    Case(
        "a named port at ingress",
        (np({"podSelector": {}, "ingress": [{"ports": [{"port": "serve-80"}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or (port, proto) == (80, "tcp"),
    ),
    Case(
        "a named port at egress",
        (
            np(
                {
                    "podSelector": {},
                    "egress": [{"ports": [{"port": "serve-80"}]}],
                    "policyTypes": ["Egress"],
                }
            ),
        ),
        lambda s, t, port, proto: not at(s, "x") or (port, proto) == (80, "tcp"),
    ),
    Case(
        "a range of ports",
        (np({"podSelector": {}, "ingress": [{"ports": [{"port": 79, "endPort": 80}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or (port, proto) == (80, "tcp"),
    ),
    Case(
        "peers and ports together, two rules",
        (
            np(
                {
                    "podSelector": {},
                    "ingress": [
                        {
                            "from": [{"namespaceSelector": labels(ns="y")}],
                            "ports": [{"port": 80}],
                        },
                        {
                            "from": [{"namespaceSelector": labels(ns="z")}],
                            "ports": [{"port": 81, "protocol": "UDP"}],
                        },
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: (
            not at(t, "x")
            or (at(s, "y") and (port, proto) == (80, "tcp"))
            or (at(s, "z") and (port, proto) == (81, "udp"))
        ),
    ),
    Case(
        "egress to a namespace",
        (
            np(
                {
                    "podSelector": {},
                    "egress": [{"to": [{"namespaceSelector": labels(ns="y")}]}],
                    "policyTypes": ["Egress"],
                }
            ),
        ),
        lambda s, t, port, proto: not at(s, "x") or at(t, "y"),
    ),
    Case(
        "both ends must agree",
        (
            np(
                {
                    "podSelector": {},
                    "egress": [{"to": [{"namespaceSelector": labels(ns="y")}]}],
                    "policyTypes": ["Egress"],
                }
            ),
            np({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}, ns="y"),
        ),
        lambda s, t, port, proto: (
            (not at(s, "x") or at(t, "y")) and (not at(t, "y") or (port, proto) == (80, "tcp"))
        ),
    ),
    Case(
        "policies add up",
        (
            np({"podSelector": {}, "ingress": [{"from": [{"podSelector": labels(pod="a")}]}]}),
            np(
                {"podSelector": {}, "ingress": [{"from": [{"podSelector": labels(pod="b")}]}]},
                name="two",
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "x/a") or at(s, "x/b"),
    ),
    Case(
        "an address block holds no pods, so it lets none in",
        (
            np(
                {
                    "podSelector": {},
                    "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x"),
    ),
)
