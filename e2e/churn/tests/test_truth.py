# SPDX-License-Identifier: Apache-2.0
"""Maps that are right agree with the objects; each single mistake in them is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from cilium_core.addresses import Network
from cilium_core.identity import LOCAL_SCOPE, Reserved
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.engine import Engine
from cilium_core.policy.language import parse
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey, Tables
from e2e.churn.maps import LocalEndpoint, NodeMaps, Place
from e2e.churn.maps import parse as parse_maps
from e2e.churn.truth import Truth

WEB, DB = 1001, 1002
OUTSIDE = ip_network("198.51.100.0/24")
OUTSIDE_NUMBER = LOCAL_SCOPE + 7
NODES = {"node1": ("172.30.0.11", "10.0.0.1"), "node2": ("172.30.0.12", "10.0.1.1")}


def labels(app: str) -> dict[str, str]:
    return {
        "k8s:app": app,
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "x",
        "k8s:io.cilium.k8s.policy.cluster": "test",
        "k8s:io.cilium.k8s.policy.serviceaccount": "default",
        "k8s:io.kubernetes.pod.namespace": "x",
    }


def pod(app: str, node: str, address: str, identity: int) -> list[dict[str, Any]]:
    metadata = {"name": app, "namespace": "x", "labels": {"app": app}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        },
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumEndpoint",
            "metadata": dict(metadata),
            "status": {"id": identity - 1000, "identity": {"id": identity}},
        },
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumIdentity",
            "metadata": {"name": str(identity)},
            "security-labels": labels(app),
        },
    ]


def objects() -> list[dict[str, Any]]:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": {"app": "db"}}},
                        {"ipBlock": {"cidr": str(OUTSIDE)}},
                    ],
                    "ports": [{"port": 80, "protocol": "TCP", "endPort": 90}],
                }
            ],
        },
    }
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}},
        policy,
        *pod("web", "node1", "10.0.0.2", WEB),
        *pod("db", "node2", "10.0.1.2", DB),
    ]
    for name, (internal, router) in NODES.items():
        addresses = [("InternalIP", internal), ("CiliumInternalIP", router)]
        entries = [{"type": kind, "ip": ip} for kind, ip in addresses]
        spec = {"addresses": entries}
        metadata = {"name": name}
        found += [
            {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNode",
                "metadata": metadata,
                "spec": spec,
            },
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": metadata,
                "status": {"addresses": [{"type": "InternalIP", "address": internal}]},
            },
        ]
    # So that the cluster has both families, as the cluster of the suite.
    found.append(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node1"},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "172.30.0.11"},
                    {"type": "InternalIP", "address": "fd00:30::11"},
                ]
            },
        }
    )
    return found


def right_maps(given: list[dict[str, Any]]) -> NodeMaps:
    """The maps of node1 as an agent makes them: with numbers of its own."""
    engine = Engine()
    for member in Reserved:
        if member:
            engine.set_identity(int(member), {f"reserved:{member.label}": ""})
    for number, app in ((WEB, "web"), (DB, "db")):
        engine.set_identity(number, labels(app))
    engine.set_identity(OUTSIDE_NUMBER, cidr_labels(OUTSIDE, dual_stack=True))
    for body in given:
        if body["kind"] == "NetworkPolicy":
            engine.set_policies("p", parse(body, "test"))
    number = engine.set_subject(1, labels("web"))
    engine.take(0.0)
    ipcache: dict[Network, Place] = {
        ip_network("0.0.0.0/0"): Place(9),
        ip_network("::/0"): Place(10),
        ip_network("10.0.0.1"): Place(1),
        ip_network("172.30.0.11"): Place(1),
        ip_network("172.30.0.12"): Place(6),
        ip_network("10.0.1.1"): Place(6, ip_address("172.30.0.12")),
        ip_network("10.0.0.2"): Place(WEB),
        ip_network("10.0.1.2"): Place(DB, ip_address("172.30.0.12")),
        OUTSIDE: Place(OUTSIDE_NUMBER),
    }
    return NodeMaps(
        {ip_address("10.0.0.2"): LocalEndpoint(1, WEB, number)},
        frozenset({ip_address("10.0.0.1"), ip_address("172.30.0.11")}),
        ipcache,
        Tables(dict(engine.tables.rows), dict(engine.tables.bits)),
    )


def judged(given: list[dict[str, Any]], maps: NodeMaps) -> list[str]:
    truth = Truth(given, "test")
    return [*truth.waits, *truth.differences("node1", maps)]


def test_maps_that_an_engine_made_from_the_same_objects_agree() -> None:
    given = objects()
    assert judged(given, right_maps(given)) == []


def _longest(maps: NodeMaps) -> RowKey:
    return max(
        maps.tables.rows, key=lambda key: (key.direction == Direction.INGRESS, key.port_bits)
    )


def _wider_port(maps: NodeMaps) -> None:
    key = _longest(maps)
    row = maps.tables.rows.pop(key)
    maps.tables.rows[key._replace(port=key.port & 0xFF00, port_bits=8)] = row


def _deny_all(maps: NodeMaps) -> None:
    key = _longest(maps)
    maps.tables.rows[key] = Row(any_deny=True)


def _more_bits(maps: NodeMaps) -> None:
    word = next(word for identity, word in maps.tables.bits if identity == DB)
    maps.tables.bits[int(Reserved.REMOTE_NODE), word] = maps.tables.bits[DB, word]


def _set_endpoint(**values: int) -> Callable[[NodeMaps], None]:
    def change(maps: NodeMaps) -> None:
        for address, row in maps.endpoints.items():
            maps.endpoints[address] = row._replace(**values)

    return change


MISTAKES: dict[str, Callable[[NodeMaps], Any]] = {
    "a row is gone": lambda maps: maps.tables.rows.pop(_longest(maps)),
    "a row is too wide": _wider_port,
    "a row denies": _deny_all,
    "a peer has no bits": lambda maps: [
        maps.tables.bits.pop(at) for at in list(maps.tables.bits) if at[0] == DB
    ],
    "a stranger has bits": _more_bits,
    "the prefix has no bits": lambda maps: [
        maps.tables.bits.pop(at) for at in list(maps.tables.bits) if at[0] == OUTSIDE_NUMBER
    ],
    "bits of nobody": lambda maps: maps.tables.bits.update({(4242, 0): 1}),
    "bits of a prefix that is gone": lambda maps: maps.tables.bits.update(
        {(LOCAL_SCOPE + 99, 0): 1}
    ),
    "rows of nobody": lambda maps: maps.tables.rows.update(
        {RowKey(77, Direction.INGRESS): Row(any_allow=True)}
    ),
    "another policy": _set_endpoint(policy=77),
    "no policy": _set_endpoint(policy=0),
    "another identity": _set_endpoint(identity=DB),
    "another number": _set_endpoint(number=9),
    "no endpoint": lambda maps: maps.endpoints.clear(),
    "an endpoint too many": lambda maps: maps.endpoints.update(
        {ip_address("10.0.0.9"): LocalEndpoint(2, WEB, 1)}
    ),
    "no remote pod": lambda maps: maps.ipcache.pop(ip_network("10.0.1.2")),
    "a remote pod elsewhere": lambda maps: maps.ipcache.update(
        {ip_network("10.0.1.2"): Place(DB, ip_address("172.30.0.13"))}
    ),
    "a remote pod is another": lambda maps: maps.ipcache.update(
        {ip_network("10.0.1.2"): Place(WEB, ip_address("172.30.0.12"))}
    ),
    "no prefix": lambda maps: maps.ipcache.pop(OUTSIDE),
    "a prefix too many": lambda maps: maps.ipcache.update({ip_network("192.0.2.0/24"): Place(9)}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    given = objects()
    maps = right_maps(given)
    MISTAKES[mistake](maps)
    assert judged(given, maps), mistake


def _edited(change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    given = objects()
    for body in given:
        change(body)
    return given


def test_maps_of_yesterday_do_not_agree() -> None:
    maps = right_maps(objects())

    def other_port(body: dict[str, Any]) -> None:
        if body["kind"] == "NetworkPolicy":
            body["spec"]["ingress"][0]["ports"][0]["endPort"] = 91

    assert judged(_edited(other_port), deepcopy(maps))
    relabelled = _edited(
        lambda body: body["kind"] == "Pod" and body["metadata"]["labels"].update(tier="1")
    )
    assert judged(relabelled, maps)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pod: pod["metadata"].update(deletionTimestamp="now"), "leaving"),
        (lambda pod: pod["status"].update(phase="Pending"), "starting"),
        (lambda pod: pod["metadata"].update(name="other"), "no CiliumEndpoint"),
    ],
)
def test_what_is_on_its_way_is_waited_for(
    change: Callable[[dict[str, Any]], None], said: str
) -> None:
    given = _edited(lambda body: body["kind"] == "Pod" and change(body))
    assert any(said in text for text in Truth(given, "test").waits)


def test_answers_of_an_agent_are_read() -> None:
    endpoint = "id=3 sec_id=1001 flags=0x0000 ifindex=6 mac=0a nodemac=3e policy=2 revision=9"
    cells = [{"word": 2, "allow": 1 << 63, "deny": 0, "l7": 0}]
    row = {"policy": 2, "direction": "egress", "protocol": 6, "port": 80, "port-bits": 16}
    documents = [
        {
            "cache": [
                {"key": "10.0.0.1", "value": "(localhost)"},
                {"key": "fd00::2", "value": endpoint},
            ]
        },
        {
            "cache": [
                {"key": "10.0.1.2/32", "value": "identity=7 tunnelendpoint=172.30.0.12 flags=0"},
                {"key": "::/0", "value": "identity=10 tunnelendpoint=0.0.0.0 flags=0"},
            ]
        },
        {
            "rows": [{**row, "any": {"allow": False, "deny": True, "l7": False}, "cells": cells}],
            "bits": [{"identity": 1001, "word": 2, "bits": 1 << 63}],
        },
    ]
    maps = parse_maps("".join(json.dumps(one) for one in documents))
    assert maps.endpoints == {ip_address("fd00::2"): LocalEndpoint(3, 1001, 2)}
    assert maps.hosts == {ip_address("10.0.0.1")}
    assert maps.ipcache[ip_network("10.0.1.2")] == Place(7, ip_address("172.30.0.12"))
    assert maps.ipcache[ip_network("::/0")] == Place(10)
    [(key, held)] = maps.tables.rows.items()
    assert (key.direction, key.port, held.any_deny, held.cells[0].allow) == (2, 80, True, 1 << 63)
    assert maps.tables.bits == {(1001, 2): 1 << 63}
