# SPDX-License-Identifier: Apache-2.0
"""Schemas of the peers of a policy: label selectors, CIDRs, entities, services, names. Pure."""

from __future__ import annotations

from cilium_core.crds.schema import Schema, any_of_required, array, enum, mapping, obj, text

CIDR_PATTERN = (
    r"^\s*(((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}"
    r"(/([0-9]|[12]\d|3[0-2]))?)|([0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
    r"(/([0-9]|[1-9]\d|1[01]\d|12[0-8]))?))\s*$"
)
ENTITIES = (
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
    "world-ipv4",
    "world-ipv6",
)
FQDN_NAME_PATTERN = r"^([-a-zA-Z0-9_]+[.]?)+$"
FQDN_PATTERN_PATTERN = r"^([-a-zA-Z0-9_*]+[.]?)+$"
LABEL_VALUE_PATTERN = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"


def label_selector(description: str) -> Schema:
    """A selector over prefixed labels (`k8s:app`); matchLabels and matchExpressions are ANDed."""
    return obj(
        {
            "matchLabels": mapping(
                text(
                    "A label's value.",
                    maxLength=63,
                    pattern=LABEL_VALUE_PATTERN,
                ),
                "Labels that must be there with exactly these values.",
            ),
            "matchExpressions": array(
                obj(
                    {
                        "key": text("The label's key, with or without its source."),
                        "operator": enum(["In", "NotIn", "Exists", "DoesNotExist"]),
                        "values": array(
                            text(),
                            "Values for In and NotIn; empty for the others.",
                            **{"x-kubernetes-list-type": "atomic"},
                        ),
                    },
                    required=["key", "operator"],
                ),
                "Requirements on labels, all of which must hold.",
                **{"x-kubernetes-list-type": "atomic"},
            ),
        },
        description,
        **{"x-kubernetes-map-type": "atomic"},
    )


def selectors(description: str) -> Schema:
    """A list of label selectors, ORed."""
    return array(label_selector("One selector of endpoints."), description)


def cidr(description: str = "A CIDR or a single address.") -> Schema:
    """One prefix of either family."""
    return text(description, pattern=CIDR_PATTERN)


def cidrs(description: str) -> Schema:
    """A list of prefixes, ORed."""
    return array(cidr(), description)


def cidr_set(description: str) -> Schema:
    """Prefixes or CIDR groups with exceptions."""
    return array(
        obj(
            {
                "cidr": cidr("The prefix."),
                "cidrGroupRef": text(
                    "Name of a CiliumCIDRGroup.",
                    maxLength=253,
                    pattern=(
                        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?"
                        r"(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
                    ),
                ),
                "cidrGroupSelector": label_selector("Selects CiliumCIDRGroups by their labels."),
                "except": array(cidr(), "Prefixes inside it that are left out."),
            },
            oneOf=any_of_required("cidr", "cidrGroupRef", "cidrGroupSelector"),
        ),
        description,
    )


def entities(description: str) -> Schema:
    """Names of peers that are no endpoints of their own."""
    return array(enum(ENTITIES), description)


def groups(description: str) -> Schema:
    """Groups of a cloud provider's objects."""
    return array(
        obj(
            {
                "aws": obj(
                    {
                        "labels": mapping(text()),
                        "region": text(),
                        "securityGroupsIds": array(text()),
                        "securityGroupsNames": array(text()),
                    },
                    "Amazon Web Services.",
                )
            }
        ),
        description,
    )


def nodes(description: str) -> Schema:
    """A list of selectors over node labels, ORed."""
    return array(label_selector("One selector of nodes."), description)


def services(description: str) -> Schema:
    """Kubernetes services, by name or by their labels."""
    return array(
        obj(
            {
                "k8sService": obj({"serviceName": text(), "namespace": text()}, "By name."),
                "k8sServiceSelector": obj(
                    {
                        "namespace": text(),
                        "selector": label_selector("Selects services by their labels."),
                    },
                    "By labels.",
                    required=["selector"],
                ),
            }
        ),
        description,
    )


def fqdns(description: str) -> Schema:
    """DNS names and patterns, ORed."""
    return array(
        obj(
            {
                "matchName": text("An exact name.", maxLength=255, pattern=FQDN_NAME_PATTERN),
                "matchPattern": text(
                    "A name in which * stands for the characters of a label.",
                    maxLength=255,
                    pattern=FQDN_PATTERN_PATTERN,
                ),
            }
        ),
        description,
    )
