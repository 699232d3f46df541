# SPDX-License-Identifier: Apache-2.0
"""The article's policy, byte for byte, turns on L7 for the demo application; its flows by relay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.kube import Kube, probe_pod
from e2e.relay import Hubble, asked, flows

# One group with the tests that change the release, so that none looks at it meanwhile.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("breaks"),
    pytest.mark.timeout(300, func_only=True),
]
POLICY = Path(__file__).parent / "l7-visibility.yaml"
WEB = "http://web-svc.emojivoto"
SEEN_SECONDS = 30.0


@pytest.fixture(scope="module")
def hubble(cluster: Any) -> Iterator[Hubble]:
    """Run `hubble` against relay; the answer's text."""
    with asked(cluster.kubeconfig) as run:
        yield run


@pytest.fixture(scope="module")
def visible(kube: Kube, emojivoto: str, hubble: Hubble) -> Iterator[float]:
    """Apply the article's policy while the module runs; when it was, in seconds since 1970."""
    before = _l7(hubble, time.time() - 20)
    assert before == [], "requests are seen without a policy that asks for it"
    kube.kubectl("apply", "-f", str(POLICY))
    yield time.time()
    kube.kubectl("delete", "-f", str(POLICY), "--ignore-not-found")


def _l7(hubble: Hubble, since: float, *filters: str) -> list[dict[str, Any]]:
    begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    words = ("-n", "emojivoto", "--type", "l7", "--since", begun, "--last", "2000", "-o", "json")
    return flows(hubble("observe", *words, *filters))


def _app(endpoint: dict[str, Any]) -> str:
    found = [label for label in endpoint.get("labels", []) if label.startswith("k8s:app=")]
    return found[0].removeprefix("k8s:app=") if found else ""


def _calls(found: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Return (from, to, method, path) of requests."""
    return {
        (
            _app(flow["source"]),
            _app(flow["destination"]),
            flow["l7"]["http"]["method"],
            urlsplit(flow["l7"]["http"]["url"]).path,
        )
        for flow in found
        if flow["l7"]["type"] == "REQUEST" and "http" in flow["l7"]
    }


def _within(seconds: float, what: Callable[[], Any]) -> Any:
    """Return the first true thing that `what` gives, or its last thing."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def test_calls_show_method_path_and_status(hubble: Hubble, visible: float) -> None:
    wanted = {
        ("vote-bot", "web-svc", "GET", "/api/list"),
        ("vote-bot", "web-svc", "GET", "/api/vote"),
        ("web-svc", "emoji-svc", "POST", "/emojivoto.v1.EmojiService/ListAll"),
        ("web-svc", "emoji-svc", "POST", "/emojivoto.v1.EmojiService/FindByShortcode"),
        ("web-svc", "voting-svc", "POST", "/emojivoto.v1.VotingService/VoteDoughnut"),
    }
    seen: set[tuple[str, str, str, str]] = set()
    begun = time.monotonic()
    _within(60, lambda: seen.update(_calls(_l7(hubble, visible))) or wanted <= seen)
    print(f"all kinds of calls were seen after {time.monotonic() - begun:.0f} s")
    assert wanted - seen == set()


def test_responses_have_status_and_latency(hubble: Hubble, visible: float) -> None:
    answers = _within(SEEN_SECONDS, lambda: _l7(hubble, visible, "--http-status", "200"))
    assert answers
    for flow in answers:
        assert flow["l7"]["type"] == "RESPONSE"
        assert flow["is_reply"] is True
        assert int(flow["l7"]["latency_ns"]) > 0

    def failures() -> list[dict[str, Any]]:  # not those of connections that the policy moved
        found = _l7(hubble, visible, "--http-status", "500")
        return [f for f in found if urlsplit(f["l7"]["http"]["url"]).query == "choice=:doughnut:"]

    assert {_app(flow["destination"]) for flow in _within(60, failures)} == {"vote-bot"}


def test_names_that_pods_ask_for(kube: Kube, hubble: Hubble, visible: float) -> None:
    ask = "import socket; socket.getaddrinfo('web-svc.emojivoto', 80)"
    apps = {"emoji-svc", "voting-svc", "web-svc", "vote-bot"}
    for deployment in ("emoji", "voting", "web", "vote-bot"):
        kube.kubectl("-n", "emojivoto", "exec", f"deploy/{deployment}", "--", "python3", "-c", ask)

    def told() -> tuple[set[str], set[str]]:
        found = [f for f in _l7(hubble, visible, "--protocol", "dns") if _is_web(f)]
        questions = [f for f in found if f["l7"]["type"] == "REQUEST"]
        answers = [f for f in found if f["l7"].get("dns", {}).get("ips")]
        return {_app(f["source"]) for f in questions}, {_app(f["destination"]) for f in answers}

    assert _within(SEEN_SECONDS, lambda: told() == (apps, apps)), told()


def _is_web(flow: dict[str, Any]) -> bool:
    return bool(flow["l7"]["dns"]["query"] == "web-svc.emojivoto.svc.cluster.local.")


def test_votes_go_on_through_the_proxies(
    kube: Kube, namespace: str, hubble: Hubble, visible: float
) -> None:
    kube.apply(probe_pod(namespace, "client"))
    kube.wait_ready(namespace, "client")

    def votes() -> int:
        words = ("http", "--target", f"{WEB}/api/leaderboard", "--timeout", "10")
        outcome = kube.probe(namespace, "client", *words)[0]
        assert outcome["detail"]["status"] == 200, outcome
        return sum(int(entry["votes"]) for entry in outcome["detail"]["body"])

    before = votes()
    assert _within(60, lambda: votes() - before >= 20)


def test_what_the_rules_do_not_allow_is_a_403(
    kube: Kube, namespace: str, hubble: Hubble, visible: float
) -> None:
    kube.apply(probe_pod(namespace, "reader"), _only_the_list(namespace))
    kube.wait_ready(namespace, "reader")

    def status(path: str) -> Any:
        words = ("http", "--target", WEB + path, "--timeout", "10")
        return kube.probe(namespace, "reader", *words)[0].get("detail", {}).get("status")

    assert _within(SEEN_SECONDS, lambda: status("/api/vote?choice=:joy:") == 403)
    assert status("/api/list") == 200

    def refused() -> list[dict[str, Any]]:
        words = ("--type", "l7", "--verdict", "DROPPED", "--last", "50", "-o", "json")
        return flows(hubble("observe", "-n", namespace, *words))

    found = _within(SEEN_SECONDS, refused)
    assert {urlsplit(flow["l7"]["http"]["url"]).path for flow in found} == {"/api/vote"}


def _only_the_list(namespace: str) -> dict[str, Any]:
    web = {"k8s:io.kubernetes.pod.namespace": "emojivoto", "app": "web-svc"}
    dns = {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "reader", "namespace": namespace},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "reader"}},
            "egress": [
                {
                    "toEndpoints": [{"matchLabels": dns}],
                    "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}]}],
                },
                {
                    "toEndpoints": [{"matchLabels": web}],
                    "toPorts": [
                        {
                            "ports": [{"port": "8080", "protocol": "TCP"}],
                            "rules": {"http": [{"method": "GET", "path": "/api/list"}]},
                        }
                    ],
                },
            ],
        },
    }
