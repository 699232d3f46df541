# SPDX-License-Identifier: Apache-2.0
"""The script of the uninstall hooks, against recorded replies."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from .conftest import CHART


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cleanup_wait", CHART / "files" / "cleanup-wait.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("CILIUM_K8S_NAMESPACE", "kube-system")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


def pod(node: str, ready: bool = False) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"spec": {"nodeName": node}, "status": {"conditions": conditions}}


def daemon(desired: int, ready: int, generation: int = 1, seen: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "status": {
            "observedGeneration": seen,
            "desiredNumberScheduled": desired,
            "numberReady": ready,
        },
    }


def answers(*replies: Any) -> Callable[[str], Any]:
    waiting = list(replies)

    def get(path: str) -> Any:
        reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return get


def test_agents_and_proxies_are_waited_for(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(script, "get", lambda path: asked.append(path) or {"items": []})
    assert script.main("agents-gone", 60) == 0
    (path,) = asked
    assert path.endswith("pods?labelSelector=k8s-app%20in%20(cilium,cilium-envoy)")


def test_waits_for_the_last_agent(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"items": [pod("node2"), pod("node1")]}
    monkeypatch.setattr(script, "get", answers(both, {"items": [pod("node2")]}, {"items": []}))
    assert script.main("agents-gone", 60) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agents-gone: agents or proxies still on node1, node2",
        "agents-gone: agents or proxies still on node2",
        "agents-gone: done",
    ]


def test_names_nodes_that_stay_dirty(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def get(path: str) -> Any:
        return {"items": [pod("a", True), pod("b")]} if "pods" in path else daemon(2, 1)

    monkeypatch.setattr(script, "get", get)
    assert script.main("nodes-clean", 0) == 1
    assert "not clean yet: b" in capsys.readouterr().err


def test_a_daemon_set_that_was_not_seen_yet_is_not_clean(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "get", answers(daemon(0, 0, 1, 0), daemon(3, 3)))
    assert script.nodes_left("kube-system")
    assert script.nodes_left("kube-system") == ""


def test_an_api_server_that_is_away_is_waited_for(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "get", answers(OSError("refused"), {"items": []}))
    assert script.main("agents-gone", 60) == 0
