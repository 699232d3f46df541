# SPDX-License-Identifier: Apache-2.0
"""Schemas of CiliumNode, CiliumEndpoint and CiliumIdentity. Pure."""

from __future__ import annotations

from cilium_core.crds.schema import (
    Schema,
    array,
    boolean,
    enum,
    integer,
    mapping,
    obj,
    text,
    timestamp,
)

_OPEN = {"x-kubernetes-preserve-unknown-fields": True}
# The form only: that IPv6 text has the right groups, and that a CIDR has no host bits set, no
# pattern can say; readers check it again.
_V4 = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}"
_V6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
V4_PATTERN = f"^({_V4})?$"
V6_PATTERN = f"^({_V6})?$"
ADDRESS_PATTERN = f"^({_V4}|{_V6})?$"
POD_CIDR_PATTERN = f"^({_V4}/([12]?\\d|3[0-2])|{_V6}/([1-9]?\\d|1[01]\\d|12[0-8]))$"


def _root(properties: dict[str, Schema], description: str, required: list[str]) -> Schema:
    base = {"apiVersion": text(), "kind": text(), "metadata": {"type": "object"}}
    return obj({**base, **properties}, description, required=required)


def _address_pair(description: str) -> Schema:
    pair = {"ipv4": text(pattern=V4_PATTERN), "ipv6": text(pattern=V6_PATTERN)}
    return obj(pair, description)


def _addresses(description: str) -> Schema:
    holder = obj({"owner": text("Who has it."), "resource": text("What it belongs to.")})
    return mapping(holder, description)


def _pools() -> Schema:
    allocated = obj(
        {"pool": text(minLength=1), "cidrs": array(text())},
        required=["pool"],
    )
    requested = obj(
        {
            "pool": text(minLength=1),
            "needed": obj({"ipv4-addrs": integer(), "ipv6-addrs": integer()}),
        },
        required=["pool"],
    )
    return obj(
        {
            "allocated": array(allocated, "CIDRs that the operator gave."),
            "requested": array(requested, "Addresses that the agent asks for."),
        },
        "Multi-pool mode.",
    )


def node_schema() -> Schema:
    """Root schema of CiliumNode; the operator writes spec.ipam.podCIDRs."""
    spec = obj(
        {
            "addresses": array(
                obj(
                    {
                        "type": text("InternalIP, ExternalIP, CiliumInternalIP …"),
                        "ip": text(pattern=ADDRESS_PATTERN),
                    }
                ),
                "Addresses of the node.",
            ),
            "health": _address_pair("The health endpoint's addresses."),
            "ingress": _address_pair("The ingress listener's addresses."),
            "encryption": obj({"key": integer("Index of the key in use; 0 is none.")}),
            "bootid": text("Identifier of this boot."),
            "instance-id": text("The cloud provider's name of the node."),
            "ipam": obj(
                {
                    "podCIDRs": array(
                        text(pattern=POD_CIDR_PATTERN),
                        "CIDRs that pods of the node get addresses from, without host bits.",
                    ),
                    "pool": _addresses("Addresses that the node may give."),
                    "ipv6-pool": _addresses("IPv6 addresses that the node may give."),
                    "pools": _pools(),
                    "min-allocate": integer(minimum=0),
                    "pre-allocate": integer(minimum=0),
                    "max-allocate": integer(minimum=0),
                    "max-above-watermark": integer(minimum=0),
                    "static-ip-tags": mapping(text()),
                },
                "Address management.",
            ),
            "alibaba-cloud": {"type": "object", **_OPEN},
            "azure": {"type": "object", **_OPEN},
            "eni": {"type": "object", **_OPEN},
        },
        "What the agent and the operator tell each other about the node.",
    )
    status = obj(
        {
            "ipam": obj(
                {
                    "used": _addresses("Addresses in use."),
                    "ipv6-used": _addresses("IPv6 addresses in use."),
                    "operator-status": obj({"error": text("Why there is no CIDR.")}),
                    "pod-cidrs": mapping(
                        obj({"status": enum(["released", "depleted", "in-use"])}),
                        "State of each CIDR.",
                    ),
                    "release-ips": mapping(
                        enum(
                            ["marked-for-release", "ready-for-release", "do-not-release"]
                            + ["released"]
                        ),
                        "Handshake on giving addresses back.",
                    ),
                    "assigned-static-ip": text(),
                }
            ),
            "alibaba-cloud": {"type": "object", **_OPEN},
            "azure": {"type": "object", **_OPEN},
            "eni": {"type": "object", **_OPEN},
        },
        "What is in use.",
    )
    return _root({"spec": spec, "status": status}, "A node of the mesh.", ["metadata", "spec"])


def _policy_direction(description: str) -> Schema:
    entries = array(
        obj(
            {
                "identity": integer(),
                "identity-labels": mapping(text()),
                "dest-port": integer(),
                "protocol": integer(),
            }
        ),
        **{"x-kubernetes-list-type": "atomic"},
    )
    return obj(
        {
            "enforcing": boolean("Policy is enforced."),
            "state": text("Enforcement as a word."),
            "allowed": entries,
            "denied": entries,
            "adding": entries,
            "removing": entries,
        },
        description,
        required=["enforcing"],
    )


def endpoint_schema() -> Schema:
    """Root schema of CiliumEndpoint: everything is in status, which is no subresource."""
    status = obj(
        {
            "id": integer("The endpoint's number on its node."),
            "identity": obj(
                {"id": integer("Security identity."), "labels": array(text())},
                "The security identity.",
            ),
            "state": text("Endpoint state, such as ready."),
            "networking": obj(
                {
                    "addressing": array(_address_pair("One address per family.")),
                    "node": text(
                        "Address of the node, as others reach it.", pattern=ADDRESS_PATTERN
                    ),
                },
                required=["addressing"],
            ),
            "policy": obj(
                {
                    "ingress": _policy_direction("Ingress."),
                    "egress": _policy_direction("Egress."),
                }
            ),
            "named-ports": array(
                obj(
                    {
                        "name": text(),
                        "port": integer(format="int32"),
                        "protocol": text(),
                    }
                ),
                "Named ports of its containers.",
            ),
            "encryption": obj({"key": integer()}),
            "external-identifiers": obj(
                {
                    "cni-attachment-id": text(),
                    "container-id": text(),
                    "container-name": text(),
                    "docker-endpoint-id": text(),
                    "docker-network-id": text(),
                    "k8s-namespace": text(),
                    "k8s-pod-name": text(),
                    "pod-name": text(),
                }
            ),
            "health": obj(
                {
                    "bpf": text(),
                    "connected": boolean(),
                    "overallHealth": text(),
                    "policy": text(),
                }
            ),
            "log": array(
                obj({"code": text(), "message": text(), "state": text(), "timestamp": text()})
            ),
            "controllers": array(
                obj(
                    {
                        "name": text(),
                        "uuid": text(),
                        "configuration": {"type": "object", **_OPEN},
                        "status": {"type": "object", **_OPEN},
                    }
                )
            ),
            "service-account": text("The pod's service account."),
            "visibility-policy-status": text(),
        },
        "State of the endpoint.",
    )
    return _root({"status": status}, "The endpoint of a pod.", ["metadata"])


def identity_schema() -> Schema:
    """Root schema of CiliumIdentity: labels at the top level, the number is the name."""
    return _root(
        {
            "security-labels": mapping(text(), "The labels, as `source:key` to value."),
            "status": obj(
                {
                    "nodes": mapping(timestamp("When the node used it last.")),
                },
                "Unused; kept because upstream's subresource exists.",
            ),
        },
        "A cluster-wide security identity.",
        ["metadata", "security-labels"],
    )
