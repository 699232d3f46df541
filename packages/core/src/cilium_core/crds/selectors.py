# SPDX-License-Identifier: Apache-2.0
"""Schemas of the peers of a policy: label selectors, CIDRs, entities, services, names. Pure."""

from __future__ import annotations

from typing import Any

from cilium_core.crds.schema import Schema, any_of_required, array, enum, mapping, obj, text
from cilium_core.policy.language.entities import ENTITIES

_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_IPV6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_MASK4 = r"/([0-9]|[12]\d|3[0-2])"
_MASK6 = r"/([0-9]|[1-9]\d|1[01]\d|12[0-8])"
CIDR_PATTERN = rf"^({_IPV4}({_MASK4})?|{_IPV6}({_MASK6})?)$"
MASKED_CIDR_PATTERN = rf"^({_IPV4}{_MASK4}|{_IPV6}{_MASK6})$"
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


def masked_cidr(description: str) -> Schema:
    """One prefix of either family, its length written out."""
    return text(description, pattern=MASKED_CIDR_PATTERN)


def cidrs(description: str) -> Schema:
    """A list of prefixes, ORed."""
    return array(cidr(), description)


def cidr_set(description: str) -> Schema:
    """Prefixes or CIDR groups with exceptions."""
    return array(
        obj(
            {
                "cidr": masked_cidr("The prefix."),
                "cidrGroupRef": text(
                    "Name of a CiliumCIDRGroup.",
                    maxLength=253,
                    pattern=(
                        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?"
                        r"(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
                    ),
                ),
                "cidrGroupSelector": label_selector("Selects CiliumCIDRGroups by their labels."),
                "except": array(
                    masked_cidr("A prefix inside it."), "Prefixes inside it that are left out."
                ),
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
    """DNS names and patterns, ORed; each is one or the other."""
    return _names(description, oneOf=any_of_required("matchName", "matchPattern"))


def questions(description: str) -> Schema:
    """DNS names and patterns, ORed; one element may have both."""
    return _names(description, anyOf=any_of_required("matchName", "matchPattern"))


def _names(description: str, **alternatives: Any) -> Schema:
    return array(
        obj(
            {
                "matchName": text("An exact name.", maxLength=255, pattern=FQDN_NAME_PATTERN),
                "matchPattern": text(
                    "A name in which * stands for the characters of a label.",
                    maxLength=255,
                    pattern=FQDN_PATTERN_PATTERN,
                ),
            },
            **alternatives,
        ),
        description,
    )
