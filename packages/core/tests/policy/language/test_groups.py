# SPDX-License-Identifier: Apache-2.0
"""CiliumCIDRGroup: what its prefixes carry, and how policies pick groups."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from policy_objects import IDENTITIES, group, outside, rule

from cilium_core.errors import FieldError
from cilium_core.labels import LabelSet
from cilium_core.policy.language import cidr_group
from cilium_core.policy.rules import PeerSet

RED = cidr_group(group(["192.0.2.0/24"], "red", team="red", site="north"))
BLUE = cidr_group(group(["192.0.2.0/24", "198.51.100.0/24"], "blue", team="blue"))


def carried(prefix: str, *groups: Any) -> LabelSet:
    labels = outside(prefix)
    for each in groups:
        labels |= each.labels
    return labels


GROUPED = {
    "red": carried("192.0.2.0/24", RED),
    "both": carried("192.0.2.0/24", RED, BLUE),
    "blue": carried("198.51.100.0/24", BLUE),
    "none": outside("203.0.113.0/24"),
    **{name: labels for name, labels in IDENTITIES.items()},
}


def picked(**choice: Any) -> set[str]:
    found = rule("egress", {"toCIDRSet": [choice]}).peers
    assert isinstance(found, PeerSet)
    return {name for name, labels in GROUPED.items() if found.matches(labels)}


def test_reading() -> None:
    assert RED.name == "red"
    assert RED.prefixes == {ip_network("192.0.2.0/24")}
    assert RED.labels == {
        "cidrgroup:io.cilium.policy.cidrgroupname/red": "",
        "cidrgroup:team": "red",
        "cidrgroup:team+red": "",
        "cidrgroup:site": "north",
        "cidrgroup:site+north": "",
    }
    assert cidr_group(group(["192.0.2.1", "fd00::/8"])).prefixes == {
        ip_network("192.0.2.1/32"),
        ip_network("fd00::/8"),
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"cidrGroupRef": "red"}, {"red", "both"}),
        ({"cidrGroupRef": "green"}, set()),
        ({"cidrGroupRef": "red", "except": ["192.0.2.0/24"]}, set()),
        ({"cidrGroupRef": "blue", "except": ["192.0.2.0/24"]}, {"blue"}),
        ({"cidrGroupSelector": {"matchLabels": {"team": "red"}}}, {"red", "both"}),
        ({"cidrGroupSelector": {"matchLabels": {"team": "blue"}}}, {"blue", "both"}),
        ({"cidrGroupSelector": {"matchLabels": {"team": "green"}}}, set()),
    ],
)
def test_picking(choice: dict[str, Any], expected: set[str]) -> None:
    assert picked(**choice) == expected


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([("team", "In", ["red", "blue"])], {"red", "blue", "both"}),
        ([("team", "In", ["green", "blue"])], {"blue", "both"}),
        ([("site", "Exists", [])], {"red", "both"}),
        ([("team", "Exists", []), ("site", "DoesNotExist", [])], {"blue"}),
        ([("team", "Exists", []), ("team", "NotIn", ["red"])], {"blue"}),
    ],
)
def test_expressions(expressions: list[tuple[str, str, list[str]]], expected: set[str]) -> None:
    written = [{"key": key, "operator": op, "values": values} for key, op, values in expressions]
    assert picked(cidrGroupSelector={"matchExpressions": written}) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (group(["10.0.0.0/33"]), "spec.externalCIDRs[0]: '10.0.0.0/33' is no CIDR"),
        (group("10.0.0.0/8"), "spec.externalCIDRs: a list is needed, not '10.0.0.0/8'"),
        ({**group([]), "spec": {}}, "spec.externalCIDRs: is needed"),
        ({**group([]), "spec": None}, "spec.externalCIDRs: is needed"),
        ({**group([]), "metadata": {}}, "metadata.name: must not be empty"),
        ({**group([]), "apiVersion": "cilium.io/v2alpha1"}, "apiVersion: 'cilium.io/v2alpha1'"),
        ({**group([]), "extra": 1}, "extra: unknown field"),
    ],
)
def test_bad_groups(body: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        cidr_group(body)
    assert str(caught.value).startswith(message)
