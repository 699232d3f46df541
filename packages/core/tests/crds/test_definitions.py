# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of the definitions that users' tools depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cilium_core.crds.definitions import SCHEMA_VERSION, SCHEMA_VERSION_LABEL, definitions

CNPS = "ciliumnetworkpolicies"
CCNPS = "ciliumclusterwidenetworkpolicies"
BY_KIND = {body["spec"]["names"]["kind"]: body for body in definitions()}


def version(kind: str) -> dict[str, Any]:
    (only,) = BY_KIND[kind]["spec"]["versions"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize(
    ("kind", "plural", "short", "categories", "scope", "status"),
    [
        ("CiliumNetworkPolicy", CNPS, ["cnp", "ciliumnp"], 2, "Namespaced", True),
        ("CiliumClusterwideNetworkPolicy", CCNPS, ["ccnp"], 2, "Cluster", True),
        ("CiliumCIDRGroup", "ciliumcidrgroups", ["ccg"], 1, "Cluster", False),
        ("CiliumIdentity", "ciliumidentities", ["ciliumid"], 1, "Cluster", True),
        ("CiliumEndpoint", "ciliumendpoints", ["cep", "ciliumep"], 1, "Namespaced", False),
        ("CiliumNode", "ciliumnodes", ["cn", "ciliumn"], 1, "Cluster", True),
    ],
)
def test_names(
    kind: str, plural: str, short: list[str], categories: int, scope: str, status: bool
) -> None:
    body = BY_KIND[kind]
    assert body["metadata"]["name"] == f"{plural}.cilium.io"
    assert body["metadata"]["labels"] == {SCHEMA_VERSION_LABEL: SCHEMA_VERSION}
    names = body["spec"]["names"]
    assert (names["plural"], names["shortNames"]) == (plural, short)
    assert names["categories"] == ["cilium", "ciliumpolicy"][:categories]
    assert body["spec"]["scope"] == scope
    assert ("subresources" in version(kind)) is status
    assert version(kind)["name"] == "v2"


def test_printer_columns() -> None:
    columns = version("CiliumEndpoint")["additionalPrinterColumns"]
    assert [column["name"] for column in columns] == [
        "Security Identity",
        "Ingress Enforcement",
        "Egress Enforcement",
        "Endpoint State",
        "IPv4",
        "IPv6",
    ]
    assert [column.get("priority", 0) for column in columns] == [0, 1, 1, 0, 0, 0]


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", BY_KIND)
def test_schemas_are_structural(kind: str) -> None:
    for path, schema in nodes(version(kind)["schema"]["openAPIV3Schema"]):
        if not schema.get("x-kubernetes-int-or-string"):
            assert "type" in schema, path
        required = set(schema.get("required", ()))
        assert required <= set(schema.get("properties", ())), path


def test_policies_need_spec_or_specs() -> None:
    for kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        schema = version(kind)["schema"]["openAPIV3Schema"]
        (rule,) = schema["x-kubernetes-validations"]
        assert rule["rule"] == "has(self.spec) || has(self.specs)"


def test_identity_labels_are_a_typed_map_at_the_top() -> None:
    labels = version("CiliumIdentity")["schema"]["openAPIV3Schema"]["properties"]["security-labels"]
    assert labels["additionalProperties"] == {"type": "string"}
