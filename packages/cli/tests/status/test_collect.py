# SPDX-License-Identifier: Apache-2.0
"""Collection over a real socket: the article's cluster, and clusters with something wrong."""

from __future__ import annotations

import json

import pytest

from cilium_cli.kube.client import Client
from cilium_cli.status.collect import Collector
from cilium_cli.status.model import Status, to_json

from ..conftest import AGENT_OK, NAMESPACE, RELAY_STATUS, FakeApi, article


async def collect(api: FakeApi) -> Status:
    async with Client(api.access) as client:
        return await Collector(client, NAMESPACE).collect()


async def test_article(api: FakeApi) -> None:
    article(api)
    api.page = 4
    status = await collect(api)
    assert status.collection_errors == []
    assert status.problems(warnings=True) == []
    assert (status.pods_count.all, status.pods_count.by_cilium) == (18, 15)
    assert sorted(status.phase_count) == ["cilium", "cilium-operator", "hubble-relay", "hubble-ui"]
    assert status.disabled("clustermesh-apiserver")
    assert not status.disabled("hubble-relay")
    assert set(status.cilium_status) == {"cilium-0", "cilium-1", "cilium-2"}


async def test_json_has_upstreams_shape(api: FakeApi) -> None:
    article(api)
    text = to_json(await collect(api))
    assert text.startswith('{\n "image_count": {\n  "')
    found = json.loads(text)
    assert list(found)[:10] == [
        *("image_count", "phase_count", "pod_state", "pods_count", "cilium_status"),
        *("cilium_endpoints", "errors", "collection_errors", "helm_chart_version"),
        "config_errors",
    ]
    assert found["pod_state"]["cilium"] == {
        "Type": "DaemonSet",
        "Desired": 3,
        "Ready": 3,
        "Available": 3,
        "Unavailable": 0,
    }
    assert found["errors"]["clustermesh-apiserver"]["clustermesh-apiserver"]["Disabled"] is True
    assert found["cilium_status"]["cilium-0"] == AGENT_OK


async def test_nothing_installed(api: FakeApi) -> None:
    status = await collect(api)
    assert sorted(status.collection_errors) == [
        'daemonsets.apps "cilium" not found',
        'deployments.apps "cilium-operator" not found',
        'unable to retrieve ConfigMap "cilium-config": configmaps "cilium-config" not found',
    ]
    assert status.count("cilium") == (1, 0)
    assert status.count("cilium-operator") == (1, 0)


async def test_endpoints_before_the_crd(api: FakeApi) -> None:
    article(api)
    api.statuses["/apis/cilium.io/v2/ciliumendpoints"] = 404
    status = await collect(api)
    assert status.pods_count.by_cilium == 0
    assert status.collection_errors == []


async def test_forbidden_is_a_collection_error(api: FakeApi) -> None:
    article(api)
    api.statuses["/apis/cilium.io/v2/ciliumendpoints"] = 403
    assert len((await collect(api)).collection_errors) == 1


async def test_agents_that_cannot_answer(api: FakeApi) -> None:
    article(api)
    api.replies[("cilium-0", "cilium-dbg status -o json")] = (1, "no socket")
    api.replies[("cilium-1", "cilium-dbg endpoint list -o json")] = (0, "{")
    api.statuses[f"/api/v1/namespaces/{NAMESPACE}/pods/cilium-2/exec"] = 500
    found = (await collect(api)).errors["cilium"]
    assert found["cilium-0"].errors == [
        "unable to retrieve cilium status: command ended with exit code 1: no socket"
    ]
    assert (
        found["cilium-1"].errors[0].startswith("unable to retrieve cilium endpoint information: ")
    )
    assert len(found["cilium-2"].errors) == 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, "container cilium-agent is not running"),
        (
            {"waiting": {"reason": "CrashLoopBackOff"}},
            "container cilium-agent is in CrashLoopBackOff, exited with code 7: panic: it broke",
        ),
    ],
)
async def test_agent_containers_that_do_not_run(
    api: FakeApi, state: dict[str, object], expected: str
) -> None:
    article(api)
    (container,) = api.pods[0]["status"]["containerStatuses"]
    container |= {"state": state, "lastState": {"terminated": {"exitCode": 7}}}
    found = (await collect(api)).errors["cilium"]
    assert found["cilium-0"].errors == [expected]
    assert not any(r.path.endswith("cilium-0/exec") for r in api.requests)


async def test_config(api: FakeApi) -> None:
    article(api)
    api.config({"features-not-available": "hubble-ui,hubble"}, **{"config.cilium.io/a": "drifted"})
    status = await collect(api)
    assert status.features_not_available == ["hubble-ui", "hubble"]
    assert status.config_errors == ["drifted"]


async def test_nodes_that_relay_has_lost(api: FakeApi) -> None:
    article(api)
    lost = {"num_connected_nodes": 1, "num_unavailable_nodes": 2, "unavailable_nodes": ["k/n2"]}
    api.replies[("relay", RELAY_STATUS)] = (0, json.dumps(lost))
    status = await collect(api)
    (text,) = status.errors["hubble-relay"]["relay"].warnings
    assert text.startswith("no flows from 2 nodes: k/n2 and 1 more; ")


async def test_a_relay_that_wants_tls_is_no_finding(api: FakeApi) -> None:
    article(api)
    api.replies[("relay", RELAY_STATUS)] = (1, "Socket closed")
    assert (await collect(api)).problems(warnings=True) == []
