# SPDX-License-Identifier: Apache-2.0
"""Schemas of CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup. Pure."""

from __future__ import annotations

from cilium_core.crds import ports, selectors
from cilium_core.crds.schema import (
    Schema,
    array,
    boolean,
    conditions,
    integer,
    mapping,
    obj,
    text,
    timestamp,
)

SECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
SPEC_RULE = {
    "rule": "has(self.spec) || has(self.specs)",
    "message": "either spec or specs must be set",
}
# What a rule selects. As CEL, since the API server's words for `oneOf` and `not` help nobody.
SUBJECT_RULES = (
    {
        "rule": "!has(self.nodeSelector)",
        "message": "nodeSelector: the host firewall is not available yet, and only a "
        "CiliumClusterwideNetworkPolicy may select nodes; use endpointSelector",
    },
    {
        "rule": "has(self.endpointSelector) || has(self.nodeSelector)",
        "message": "endpointSelector is needed; {} selects every pod of the namespace",
    },
)
CLUSTERWIDE_SUBJECT_RULES = (
    {
        "rule": "has(self.endpointSelector) != has(self.nodeSelector)",
        "message": "exactly one of endpointSelector and nodeSelector is needed; {} selects all",
    },
)


def _ingress_peers() -> dict[str, Schema]:
    return {
        "fromEndpoints": selectors.selectors("Endpoints that may (or may not) connect."),
        "fromRequires": selectors.selectors("Labels that every source must have (deprecated)."),
        "fromCIDR": selectors.cidrs("Source addresses outside the cluster."),
        "fromCIDRSet": selectors.cidr_set("Source addresses with exceptions."),
        "fromEntities": selectors.entities("Sources that are no endpoints of their own."),
        "fromGroups": selectors.groups("Sources known to a cloud provider."),
        "fromNodes": selectors.nodes("Nodes by their labels."),
        "icmps": ports.icmps("ICMP types, an alternative to toPorts."),
    }


def _egress_peers() -> dict[str, Schema]:
    return {
        "toEndpoints": selectors.selectors("Endpoints that may (or may not) be reached."),
        "toRequires": selectors.selectors("Labels that each destination must have (deprecated)."),
        "toCIDR": selectors.cidrs("Destination addresses outside the cluster."),
        "toCIDRSet": selectors.cidr_set("Destination addresses with exceptions."),
        "toEntities": selectors.entities("Destinations that are no endpoints of their own."),
        "toServices": selectors.services("Backends of Kubernetes services."),
        "toGroups": selectors.groups("Destinations known to a cloud provider."),
        "toNodes": selectors.nodes("Nodes by their labels."),
        "icmps": ports.icmps("ICMP types, an alternative to toPorts."),
    }


def rule_schema(*, clusterwide: bool) -> Schema:
    """One rule: who it selects and what it allows or denies in each direction.

    At least one section has an element, and only a clusterwide rule selects nodes.
    """
    rules = CLUSTERWIDE_SUBJECT_RULES if clusterwide else SUBJECT_RULES
    subject: Schema = {"x-kubernetes-validations": [dict(rule) for rule in rules]}
    allow_ports = ports.ports("Ports, with the application rules for them.")
    deny_ports = ports.ports_denied("Ports.")
    return obj(
        {
            "endpointSelector": selectors.label_selector("Endpoints the rule applies to."),
            "nodeSelector": selectors.label_selector("Nodes it applies to (cluster-wide only)."),
            "ingress": array(
                obj(
                    {
                        **_ingress_peers(),
                        "toPorts": allow_ports,
                        "authentication": ports.authentication(),
                    }
                ),
                "What may come in; its presence denies the rest.",
            ),
            "ingressDeny": array(
                obj({**_ingress_peers(), "toPorts": deny_ports}),
                "What may not come in, whatever is allowed elsewhere.",
            ),
            "egress": array(
                obj(
                    {
                        **_egress_peers(),
                        "toFQDNs": selectors.fqdns("Destinations by DNS name."),
                        "toPorts": allow_ports,
                        "authentication": ports.authentication(),
                    }
                ),
                "What may go out; its presence denies the rest.",
            ),
            "egressDeny": array(
                obj({**_egress_peers(), "toPorts": deny_ports}),
                "What may not go out, whatever is allowed elsewhere.",
            ),
            "labels": array(
                obj(
                    {
                        "key": text(),
                        "value": text(),
                        "source": text("Where the label comes from, such as k8s."),
                    },
                    required=["key"],
                ),
                "Labels of the rule itself.",
            ),
            "enableDefaultDeny": obj(
                {
                    "ingress": boolean("Deny what is not allowed to come in."),
                    "egress": boolean("Deny what is not allowed to go out."),
                },
                "Whether selected endpoints go to default deny; by default when a section is set.",
            ),
            "description": text("Free text."),
            "log": obj(
                {"value": text("Text that flows carry.", maxLength=32, pattern="^[ -~]*$")},
                "What flows say when this rule decided.",
            ),
        },
        "A policy rule.",
        anyOf=[
            {"properties": {section: {"minItems": 1}}, "required": [section]}
            for section in SECTIONS
        ],
        **subject,
    )


def _status() -> Schema:
    return obj(
        {
            "conditions": conditions("Valid: whether the policy can be enforced, and why not."),
            "derivativePolicies": mapping(
                obj(
                    {
                        "annotations": mapping(text()),
                        "enforcing": boolean("All endpoints of the node enforce it."),
                        "error": text("What went wrong."),
                        "lastUpdated": timestamp("When it was looked at last."),
                        "localPolicyRevision": integer("The node's revision that has it."),
                        "ok": boolean("It parsed and was imported."),
                    }
                ),
                "State of policies made from this one.",
            ),
        },
        "Whether the policy is in force.",
    )


def policy_schema(*, clusterwide: bool) -> Schema:
    """Root schema of a policy kind; either `spec` or `specs` must be there (CEL)."""
    return obj(
        {
            "apiVersion": text(),
            "kind": text(),
            "metadata": {"type": "object"},
            "spec": rule_schema(clusterwide=clusterwide),
            "specs": array(
                rule_schema(clusterwide=clusterwide), "Several rules under one name.", minItems=1
            ),
            "status": _status(),
        },
        "Network policy for endpoints, on layers 3 to 7.",
        required=["metadata"],
        **{"x-kubernetes-validations": [dict(SPEC_RULE)]},
    )


def cidr_group_schema() -> Schema:
    """Root schema of CiliumCIDRGroup."""
    return obj(
        {
            "apiVersion": text(),
            "kind": text(),
            "metadata": {"type": "object"},
            "spec": obj(
                {"externalCIDRs": array(selectors.cidr(), "The group's prefixes.", minItems=0)},
                required=["externalCIDRs"],
            ),
        },
        "Prefixes that policies refer to by name.",
        required=["metadata", "spec"],
    )
