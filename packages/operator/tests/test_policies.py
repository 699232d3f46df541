# SPDX-License-Identifier: Apache-2.0
"""The condition Valid: what it says, when it is written, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cilium_operator import policies
from cilium_operator.errors import ApiError

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def body(spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "x", "resourceVersion": "7"},
        "spec": spec,
        **more,
    }


GOOD = {"endpointSelector": {}, "ingress": [{}]}
BAD = {"endpointSelector": {}, "ingress": [{"fromCIDR": ["10.0.0.0/99", "nonsense"]}]}


def test_a_valid_policy_says_so_once() -> None:
    patch = policies.patch_for(body(GOOD), NOW)
    assert patch is not None
    (said,) = patch["status"]["conditions"]
    assert (said["type"], said["status"]) == ("Valid", "True")
    assert said["lastTransitionTime"] == "2026-11-24T12:00:00Z"
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert policies.patch_for(body(GOOD, status=patch["status"]), LATER) is None


def test_an_invalid_policy_names_its_fields() -> None:
    patch = policies.patch_for(body(BAD), NOW)
    assert patch is not None
    (said,) = patch["status"]["conditions"]
    assert said["status"] == "False"
    assert "spec.ingress[0].fromCIDR[0]" in said["message"]
    assert "spec.ingress[0].fromCIDR[1]" in said["message"]


def test_what_this_version_does_not_do_is_said() -> None:
    nodes = body({"nodeSelector": {}, "ingress": [{"fromEntities": ["all"]}]})
    nodes["kind"] = "CiliumClusterwideNetworkPolicy"
    said = policies.condition(nodes, NOW)
    assert said.status == "False"
    assert "spec.nodeSelector: the host firewall is not available yet" in said.message
    ports = [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}]
    l7 = body({"endpointSelector": {}, "egress": [{"toPorts": ports}]})
    said = policies.condition(l7, NOW)
    assert said.status == "True"
    assert "dropped" in said.message
    names = body({"endpointSelector": {}, "egress": [{"toFQDNs": [{"matchName": "a.example"}]}]})
    said = policies.condition(names, NOW)
    assert said.status == "True"
    assert said.message == "Policy validation succeeded"


def test_a_correction_turns_it_and_other_conditions_stay() -> None:
    other = {"type": "Mine", "status": "True"}
    bad = policies.patch_for(body(BAD), NOW)
    assert bad is not None
    held = {"conditions": [other, *bad["status"]["conditions"]]}
    patch = policies.patch_for(body(GOOD, status=held), LATER)
    assert patch is not None
    assert patch["status"]["conditions"][0] == other
    assert patch["status"]["conditions"][1]["status"] == "True"
    assert patch["status"]["conditions"][1]["lastTransitionTime"] == "2026-11-25T12:00:00Z"


def test_another_message_keeps_the_time_of_the_turn() -> None:
    bad = policies.patch_for(body(BAD), NOW)
    assert bad is not None
    worse = {"endpointSelector": {}, "ingress": [{"fromCIDR": ["nonsense"]}]}
    patch = policies.patch_for(body(worse, status=bad["status"]), LATER)
    assert patch is not None
    assert patch["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-24T12:00:00Z"


def test_names_and_paths() -> None:
    assert policies.key_of(body(GOOD)) == "CiliumNetworkPolicy/x/p"
    assert (
        policies.path_of("CiliumNetworkPolicy/x/p")
        == "/apis/cilium.io/v2/namespaces/x/ciliumnetworkpolicies/p"
    )
    clusterwide = {"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "c"}}
    assert (
        policies.path_of(policies.key_of(clusterwide))
        == "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies/c"
    )


class FakeApi:
    def __init__(self, found: Any, error: ApiError | None = None) -> None:
        self.found, self.error, self.patched = found, error, []

    async def find(self, path: str, kind: Any) -> Any:
        return self.found

    async def patch(self, path: str, patch: Any) -> bytes:
        self.patched.append(path)
        if self.error is not None:
            raise self.error
        return b""


async def test_sync_patches_the_status_and_survives_what_came_between() -> None:
    api = FakeApi(body(GOOD))
    await policies.sync(api, "CiliumNetworkPolicy/x/p")
    assert api.patched == ["/apis/cilium.io/v2/namespaces/x/ciliumnetworkpolicies/p/status"]
    await policies.sync(FakeApi(None), "CiliumNetworkPolicy/x/p")
    await policies.sync(FakeApi(body(GOOD), ApiError(409, "", "", "")), "CiliumNetworkPolicy/x/p")
    with pytest.raises(ApiError):
        await policies.sync(
            FakeApi(body(GOOD), ApiError(403, "", "", "")), "CiliumNetworkPolicy/x/p"
        )
