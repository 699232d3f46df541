# SPDX-License-Identifier: Apache-2.0
"""Every case of the tables: applied, tried between all pods, taken away again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from e2e.kube import Kube
from e2e.policy import world as worlds
from e2e.policy.case import Case
from e2e.policy.cilium_cases import CILIUM_POLICIES, CLUSTERWIDE_POLICIES
from e2e.policy.kubernetes_cases import NETWORK_POLICIES
from e2e.policy.world import World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]
CASES = (*NETWORK_POLICIES, *CILIUM_POLICIES, *CLUSTERWIDE_POLICIES)


@pytest.fixture(scope="module")
def world(kube: Kube) -> Iterator[World]:
    made = worlds.create(kube, uuid.uuid4().hex[:5])
    yield made
    kube.kubectl("delete", "namespace", *made.namespaces.values(), "--wait=false")


@pytest.fixture
def applied(kube: Kube, world: World, request: pytest.FixtureRequest) -> Iterator[Case]:
    case: Case = request.param
    items = {"apiVersion": "v1", "kind": "List", "items": case.objects(world.namespaces)}
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    yield case
    kube.kubectl("delete", "-f", "-", stdin=json.dumps(items))


def test_without_policies_all_is_reached(world: World) -> None:
    assert worlds.differences(world, lambda source, target, port, protocol: True) == []


@pytest.mark.parametrize(
    "applied", [pytest.param(c, id=f"{n:02} {c.name}") for n, c in enumerate(CASES)], indirect=True
)
def test_who_reaches_whom(world: World, applied: Case) -> None:
    assert worlds.differences(world, applied.expected) == []


def test_all_is_reached_again(world: World) -> None:
    assert worlds.differences(world, lambda source, target, port, protocol: True) == []
