# SPDX-License-Identifier: Apache-2.0
"""The demo application on the cluster: four pods, votes that count, calls that cross nodes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e.kube import Kube, probe_pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]
SERVICES = ("emoji-svc", "voting-svc", "web-svc", "vote-bot")


@pytest.fixture(scope="module")
def client(kube: Kube, namespace: str, emojivoto: str) -> str:
    kube.apply(probe_pod(namespace, "client"))
    kube.wait_ready(namespace, "client")
    return "client"


def _pods(kube: Kube, emojivoto: str) -> dict[str, Any]:
    items = kube.json("-n", emojivoto, "get", "pods")["items"]
    return {pod["metadata"]["labels"]["app"]: pod for pod in items}


def _get(kube: Kube, namespace: str, client: str, url: str) -> tuple[int, Any]:
    outcome = kube.probe(namespace, client, "http", "--target", url, "--timeout", "10")[0]
    assert "status" in outcome.get("detail", {}), outcome
    return outcome["detail"]["status"], outcome["detail"]["body"]


def _votes(kube: Kube, namespace: str, client: str) -> int:
    status, board = _get(kube, namespace, client, "http://web-svc.emojivoto/api/leaderboard")
    assert status == 200
    # A long body that is cut would not decode: the list proves that it came whole.
    assert isinstance(board, list)
    return sum(int(entry["votes"]) for entry in board)


def test_four_pods_run(kube: Kube, emojivoto: str) -> None:
    pods = _pods(kube, emojivoto)
    assert sorted(pods) == sorted(SERVICES)
    for name, pod in pods.items():
        assert pod["status"]["phase"] == "Running"
        statuses = pod["status"]["containerStatuses"]
        assert [(status["name"], status["ready"]) for status in statuses] == [(name, True)]


def test_calls_cross_nodes(kube: Kube, emojivoto: str) -> None:
    node = {name: pod["spec"]["nodeName"] for name, pod in _pods(kube, emojivoto).items()}
    calls = [("vote-bot", "web-svc"), ("web-svc", "emoji-svc"), ("web-svc", "voting-svc")]
    crossing = [call for call in calls if node[call[0]] != node[call[1]]]
    assert len(crossing) >= 2, node


def test_twenty_votes_a_minute(kube: Kube, namespace: str, client: str) -> None:
    begun, before = time.monotonic(), _votes(kube, namespace, client)
    counted = 0
    while counted < 20 and time.monotonic() - begun < 60:
        time.sleep(2)
        counted = _votes(kube, namespace, client) - before
    print(f"{counted} votes in {time.monotonic() - begun:.0f} s")
    assert counted >= 20


def test_a_vote_for_the_doughnut_fails(kube: Kube, namespace: str, client: str) -> None:
    url = "http://web-svc.emojivoto/api/vote?choice="
    assert _get(kube, namespace, client, f"{url}:joy:")[0] == 200
    status, body = _get(kube, namespace, client, f"{url}:doughnut:")
    assert status == 500
    assert body["error"].startswith("UNKNOWN")
    assert _get(kube, namespace, client, f"{url}:nothing:")[0] == 400


def test_voting_metrics_agree(kube: Kube, namespace: str, client: str) -> None:
    words = ("-n", namespace, "exec", client, "--", "curl", "-sS", "--max-time", "10")
    before = _votes(kube, namespace, client)
    text = kube.kubectl(*words, "http://voting-svc.emojivoto:8801/metrics")
    after = _votes(kube, namespace, client)
    counted = sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("emojivoto_votes_total{")
    )
    assert before <= counted <= after
