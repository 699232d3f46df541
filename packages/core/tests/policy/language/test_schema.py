# SPDX-License-Identifier: Apache-2.0
"""The definitions let every valid policy in, and keep out what a schema can keep out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from policy_objects import ccnp, cnp, group
from policy_strategies import cilium_policies, clusterwide_policies

from cilium_core.crds.definitions import definitions
from cilium_core.policy.language import problems

VALIDATORS = {
    body["spec"]["names"]["kind"]: jsonschema.Draft202012Validator(
        body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    )
    for body in definitions()
}
ALL = {"fromEntities": ["all"]}
FEWER = settings(max_examples=settings.default.max_examples // 2)  # the validator is slow


def accepts(obj: dict[str, Any]) -> bool:
    validator = VALIDATORS[obj["kind"]]
    return bool(validator.is_valid(obj)) and not any(broken(validator.schema, obj))


def broken(schema: Any, value: Any) -> Iterator[str]:
    """Messages of the CEL rules that do not hold; the server's own test is the operator's."""
    for rule in schema.get("x-kubernetes-validations", ()):
        text = re.sub(r"has\(self\.(\w+)\)", lambda found: str(found[1] in value), rule["rule"])
        text = text.replace("||", "or").replace("!=", "is not").replace("!", "not ")
        if not eval(text, {"__builtins__": {}}):
            yield rule["message"]
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from broken(part, value[name])
    elif isinstance(value, list):
        for item in value:
            yield from broken(schema["items"], item)


@FEWER
@given(cilium_policies())
def test_valid_policies_get_in(obj: dict[str, Any]) -> None:
    VALIDATORS[obj["kind"]].validate(obj)
    assert accepts(obj)


@FEWER
@given(clusterwide_policies())
def test_valid_clusterwide_policies_get_in(obj: dict[str, Any]) -> None:
    VALIDATORS[obj["kind"]].validate(obj)


@pytest.mark.parametrize("kind", ["spec", "specs"])
def test_what_a_rule_selects_is_told_in_words(kind: str) -> None:
    def said(make: Any, **subject: Any) -> list[str]:
        rule = {**subject, "ingress": [ALL]}
        obj = make(**{kind: rule if kind == "spec" else [rule]})
        validator = VALIDATORS[obj["kind"]]
        validator.validate(obj)  # or the server would not come to the rules
        return list(broken(validator.schema, obj))

    assert said(cnp, endpointSelector={}) == []
    (nodes,) = said(cnp, nodeSelector={})
    assert nodes.startswith("nodeSelector: the host firewall is not available yet")
    assert said(cnp, nodeSelector={}, endpointSelector={}) == [nodes]
    (none,) = said(cnp)
    assert none.startswith("endpointSelector is needed")
    assert said(ccnp, endpointSelector={}) == said(ccnp, nodeSelector={}) == []
    (one,) = said(ccnp)
    assert one.startswith("exactly one of endpointSelector and nodeSelector")
    assert said(ccnp, nodeSelector={}, endpointSelector={}) == [one]


def spec(section: str = "ingress", element: Any = None, **more: Any) -> dict[str, Any]:
    return {"endpointSelector": {}, section: [ALL if element is None else element], **more}


def ports(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"toPorts": [{"ports": list(entries), **more}]}


@pytest.mark.parametrize(
    "obj",
    [
        cnp({"endpointSelector": {}}),
        cnp({"endpointSelector": {}, "ingress": []}),
        cnp({"ingress": [ALL]}),
        cnp({"nodeSelector": {}, "ingress": [ALL]}),
        cnp(specs=[{"nodeSelector": {}, "ingress": [ALL]}]),
        cnp(specs=[]),
        ccnp({"nodeSelector": {}, "endpointSelector": {}, "ingress": [ALL]}),
        cnp(spec(element=ports({"port": "80 foo"}))),
        cnp(spec(element=ports({"port": "65536"}))),
        cnp(spec(element=ports({"port": "0080"}))),
        cnp(spec(element=ports({"port": "a-name-that-is-too-long"}))),
        cnp(spec(element=ports(*[{"port": "1"}] * 41))),
        cnp(spec(element=ports({"port": "80", "protocol": "QUIC"}))),
        cnp(spec(element={"icmps": [{"fields": [{"type": "ExtendedEcho Request"}]}]})),
        cnp(spec(element={"icmps": [{"fields": [{"type": "256"}]}]})),
        cnp(spec(element={"fromCIDR": [" 10.0.0.0/8 "]})),
        cnp(spec(element={"fromCIDR": ["10.0.0.0/33"]})),
        cnp(spec(element={"fromCIDRSet": [{"cidr": "10.0.0.1"}]})),
        cnp(spec(element={"fromCIDRSet": [{"cidr": "10.0.0.0/8", "cidrGroupRef": "a"}]})),
        cnp(spec(element={"fromEntities": ["everyone"]})),
        cnp(spec(element={"fromEndpoints": [{"matchLabels": {"a": "b c"}}]})),
        cnp(spec("egress", {"toFQDNs": [{"matchName": "a", "matchPattern": "*"}]})),
        cnp(spec("egress", {"toFQDNs": [{}]})),
        cnp(spec("egress", ports({"port": "443"}, serverNames=["a b"]))),
        cnp(spec("egress", ports({"port": "1"}, rules={"http": [], "dns": []}))),
        cnp(spec("egress", ports({"port": "1"}, rules={"kafka": [{"role": "x"}]}))),
        cnp(
            spec(
                "egress",
                ports({"port": "1"}, rules={"kafka": [{"role": "produce", "apiKey": "f"}]}),
            )
        ),
        cnp(spec(log={"value": "x" * 33})),
        cnp(spec(log={"value": "tab\t"})),
        group(["10.0.0.0"] + ["x"]),
    ],
)
def test_what_a_schema_keeps_out(obj: dict[str, Any]) -> None:
    assert not accepts(obj)
    assert problems(obj)
