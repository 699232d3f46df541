# SPDX-License-Identifier: Apache-2.0
"""The JSON names of the typed resources."""

from __future__ import annotations

import msgspec

from cilium_core.crds.models import (
    AddressPair,
    CiliumEndpoint,
    CiliumEndpointStatus,
    CiliumIdentity,
    CiliumNode,
    CiliumNodeSpec,
    EndpointIdentity,
    EndpointNetworking,
    ExternalIdentifiers,
    NamedPort,
    NodeAddress,
    NodeIPAMSpec,
    ObjectMeta,
)


def test_node_round_trip() -> None:
    node = CiliumNode(
        metadata=ObjectMeta(name="node1"),
        spec=CiliumNodeSpec(
            addresses=[NodeAddress(type="InternalIP", ip="172.30.0.11")],
            ipam=NodeIPAMSpec(pod_cidrs=["10.0.0.0/24"]),
        ),
    )
    plain = msgspec.to_builtins(node)
    assert plain["apiVersion"] == "cilium.io/v2"
    assert plain["spec"]["ipam"] == {"podCIDRs": ["10.0.0.0/24"]}
    assert msgspec.convert(plain, CiliumNode) == node
    body = b'{"status":{"ipam":{"operator-status":{"error":"full"},"used":{}}},"more":1}'
    assert msgspec.json.decode(body, type=CiliumNode).status.ipam.operator_status.error == "full"


def test_identity_has_its_labels_at_the_top() -> None:
    identity = CiliumIdentity(metadata=ObjectMeta(name="300"), security_labels={"k8s:a": "b"})
    assert msgspec.to_builtins(identity) == {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": "300"},
        "security-labels": {"k8s:a": "b"},
    }


def test_endpoint_status_names() -> None:
    endpoint = CiliumEndpoint(
        status=CiliumEndpointStatus(
            id=7,
            identity=EndpointIdentity(id=300, labels=["k8s:a=b"]),
            networking=EndpointNetworking(addressing=[AddressPair(ipv4="10.0.0.2")], node="n"),
            named_ports=[NamedPort(name="http", port=80, protocol="TCP")],
            external_identifiers=ExternalIdentifiers(k8s_pod_name="p", pod_name="ns/p"),
            state="ready",
        )
    )
    status = msgspec.to_builtins(endpoint)["status"]
    assert status["named-ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert status["external-identifiers"] == {"k8s-pod-name": "p", "pod-name": "ns/p"}
    assert status["networking"] == {"addressing": [{"ipv4": "10.0.0.2"}], "node": "n"}
