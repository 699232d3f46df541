# SPDX-License-Identifier: Apache-2.0
"""Cilium's kinds: policies and, written by hand beside each, who still reaches whom."""

from __future__ import annotations

from e2e.policy.case import (
    NAMESPACE,
    OURS,
    TCP80,
    Case,
    at,
    ccnp,
    cnp,
    labels,
    namespace,
    np,
)

CILIUM_POLICIES = (
    Case(
        "ingress with one empty rule allows nobody: default deny as it is written",
        (cnp({"endpointSelector": {}, "ingress": [{}]}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "an empty ingress list denies nothing by itself",
        (cnp({"endpointSelector": {}, "ingress": [], "egress": [{}]}),),
        lambda s, t, port, proto: not at(s, "x"),
    ),
    Case(
        "an empty list of endpoints is nobody",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEndpoints": []}]}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "an empty selector is the own namespace",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}),),
        lambda s, t, port, proto: not at(t, "x") or at(s, "x"),
    ),
    Case(
        "endpoints of another namespace",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEndpoints": [namespace("y")]}]}),),
        lambda s, t, port, proto: not at(t, "x") or at(s, "y"),
    ),
    Case(
        "endpoints by a label, on a port",
        (
            cnp(
                {
                    "endpointSelector": labels(pod="a"),
                    "ingress": [
                        {"fromEndpoints": [labels(pod="b")], "toPorts": [{"ports": TCP80}]}
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: (
            not at(t, "x/a") or (at(s, "x/b") and (port, proto) == (80, "tcp"))
        ),
    ),
    Case(
        "endpoints by an expression",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [
                        {
                            "fromEndpoints": [
                                {
                                    "matchExpressions": [
                                        {"key": "pod", "operator": "NotIn", "values": ["a", "c"]}
                                    ]
                                }
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "x/b"),
    ),
    Case(
        "endpoints by their namespace's labels",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [
                        {
                            "fromEndpoints": [
                                {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.ns": "z"}}
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "z"),
    ),
    Case(
        "endpoints by their service account, of any namespace",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [
                        {
                            "fromEndpoints": [
                                {
                                    "matchLabels": {
                                        "io.cilium.k8s.policy.serviceaccount": "default"
                                    },
                                    "matchExpressions": [{"key": NAMESPACE, "operator": "Exists"}],
                                }
                            ]
                        }
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: True,
    ),
    Case(
        "ports with any protocol",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [{"toPorts": [{"ports": [{"port": "81", "protocol": "ANY"}]}]}],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or port == 81,
    ),
    Case(
        "a range of ports",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [
                        {"toPorts": [{"ports": [{"port": "81", "endPort": 90, "protocol": "TCP"}]}]}
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(t, "x") or (port, proto) == (81, "tcp"),
    ),
    Case(
        "entity all",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}),),
        lambda s, t, port, proto: True,
    ),
    Case(
        "entity cluster",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["cluster"]}]}),),
        lambda s, t, port, proto: True,
    ),
    Case(
        "entity world",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["world"]}]}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "entity host",
        (cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["host"]}]}),),
        lambda s, t, port, proto: not at(t, "x"),
    ),
    Case(
        "egress to nobody but one pod",
        (
            cnp(
                {
                    "endpointSelector": labels(pod="c"),
                    "egress": [
                        {"toEndpoints": [{"matchLabels": {"pod": "a", NAMESPACE: "{y}"}}]},
                    ],
                }
            ),
        ),
        lambda s, t, port, proto: not at(s, "x/c") or at(t, "y/a"),
    ),
    Case(
        "a CIDR with pods in it does not mean pods",
        (cnp({"endpointSelector": {}, "egress": [{"toCIDR": ["0.0.0.0/0", "::/0"]}]}),),
        lambda s, t, port, proto: not at(s, "x"),
    ),
    Case(
        "deny wins over allow",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "ingress": [{"fromEntities": ["all"]}],
                    "ingressDeny": [{"fromEndpoints": [namespace("y")]}],
                }
            ),
        ),
        lambda s, t, port, proto: not (at(t, "x") and at(s, "y")),
    ),
    Case(
        "deny on a port, from another policy",
        (
            cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}),
            cnp(
                {
                    "endpointSelector": labels(pod="b"),
                    "ingressDeny": [
                        {"fromEntities": ["cluster"], "toPorts": [{"ports": TCP80}]},
                    ],
                },
                name="deny",
            ),
        ),
        lambda s, t, port, proto: not (at(t, "x/b") and (port, proto) == (80, "tcp")),
    ),
    Case(
        "egress deny",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "egress": [{"toEntities": ["all"]}],
                    "egressDeny": [{"toEndpoints": [namespace("z")]}],
                }
            ),
        ),
        lambda s, t, port, proto: not (at(s, "x") and at(t, "z")),
    ),
    Case(
        "deny without default deny",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "enableDefaultDeny": {"ingress": False},
                    "ingressDeny": [{"fromEndpoints": [namespace("y")]}],
                }
            ),
        ),
        lambda s, t, port, proto: not (at(t, "x") and at(s, "y")),
    ),
    Case(
        "allow without default deny changes nothing",
        (
            cnp(
                {
                    "endpointSelector": {},
                    "enableDefaultDeny": {"ingress": False, "egress": False},
                    "ingress": [{"fromEndpoints": [namespace("y")]}],
                }
            ),
        ),
        lambda s, t, port, proto: True,
    ),
    Case(
        "several rules in `specs`",
        (
            {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNetworkPolicy",
                "metadata": {"name": "case", "namespace": "{x}"},
                "specs": [
                    {
                        "endpointSelector": labels(pod="a"),
                        "ingress": [{"fromEndpoints": [namespace("y")]}],
                    },
                    {
                        "endpointSelector": labels(pod="b"),
                        "ingress": [{"fromEndpoints": [namespace("z")]}],
                    },
                ],
            },
        ),
        lambda s, t, port, proto: (
            (not at(t, "x/a") or at(s, "y")) and (not at(t, "x/b") or at(s, "z"))
        ),
    ),
    Case(
        "a NetworkPolicy and a CiliumNetworkPolicy add up",
        (
            np({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),
            cnp({"endpointSelector": {}, "ingress": [{"fromEndpoints": [namespace("z")]}]}),
        ),
        lambda s, t, port, proto: not at(t, "x") or at(s, "x") or at(s, "z"),
    ),
)

CLUSTERWIDE_POLICIES = (
    Case(
        "clusterwide: only the own namespaces are selected",
        (
            ccnp(
                {
                    "endpointSelector": OURS,
                    "ingress": [{"fromEndpoints": [labels(pod="a")]}],
                }
            ),
        ),
        lambda s, t, port, proto: s.pod == "a",
    ),
    Case(
        "clusterwide: an empty selector is every pod",
        (
            ccnp(
                {
                    "endpointSelector": namespace("y"),
                    "ingress": [{"fromEndpoints": [{}]}],
                }
            ),
        ),
        lambda s, t, port, proto: True,
    ),
    Case(
        "clusterwide deny wins over a namespace's allow",
        (
            ccnp(
                {
                    "endpointSelector": namespace("x"),
                    "enableDefaultDeny": {"ingress": False},
                    "ingressDeny": [{"toPorts": [{"ports": TCP80}]}],
                }
            ),
            cnp({"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}),
        ),
        lambda s, t, port, proto: not (at(t, "x") and (port, proto) == (80, "tcp")),
    ),
)
