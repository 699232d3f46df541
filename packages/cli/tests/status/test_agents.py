# SPDX-License-Identifier: Apache-2.0
"""Findings from what agents say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cilium_cli.status.agents import add_agent_endpoints, add_agent_status
from cilium_cli.status.model import Status

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reply", "errors", "warnings"),
    [
        ({"cilium": {"state": "Ok"}}, [], []),
        ({"cilium": {"state": "Failure", "msg": "m"}}, ["Cilium: m"], []),
        ({"kubernetes": {"state": "failure", "msg": "m"}}, ["Kubernetes: m"], []),
        ({"hubble": {"state": "Warning", "msg": "m"}}, [], ["Hubble: m"]),
        (
            {"cluster": {"ciliumHealth": {"state": "Warning", "msg": "m"}}},
            [],
            ["Health: m"],
        ),
        ({"kvstore": {"state": "Disabled"}, "cluster": None, "controllers": None}, [], []),
    ],
)
def test_subsystems(reply: dict[str, Any], errors: list[str], warnings: list[str]) -> None:
    status = Status()
    add_agent_status(status, "p", reply, NOW)
    found = status.findings("cilium", "p")
    assert (found.errors, found.warnings) == (errors, warnings)


@pytest.mark.parametrize(
    ("last", "since"),
    [
        ("2026-11-24T11:59:18Z", "42s"),
        ("2026-11-24T11:50:00.123456789Z", "9m59s"),
        ("2026-11-24T10:00:00+00:00", "2h0m0s"),
        ("0001-01-01T00:00:00Z", "start"),
        (None, "start"),
    ],
)
def test_failing_controller(last: str | None, since: str) -> None:
    status = Status()
    failing = {
        "consecutive-failure-count": 3,
        "last-failure-msg": "boom",
        "last-success-timestamp": last,
    }
    fine = {"name": "b", "status": {"consecutive-failure-count": 0}}
    add_agent_status(status, "p", {"controllers": [{"name": "a", "status": failing}, fine]}, NOW)
    assert status.findings("cilium", "p").errors == [
        f"controller a is failing since {since} (3x): boom"
    ]


def test_endpoints() -> None:
    status = Status()
    states = ["ready", "regenerating", "waiting-for-identity", "ready"]
    add_agent_endpoints(status, "p", [{"status": {"state": s}} for s in states])
    assert status.findings("cilium", "p").warnings == ["2 endpoints are not ready"]


def test_a_dead_proxy_is_envoys_error_and_not_the_agents() -> None:
    status = Status()
    failing = {"consecutive-failure-count": 2, "last-failure-msg": "Envoy does not answer"}
    add_agent_status(
        status, "p", {"controllers": [{"name": "proxy-envoy", "status": failing}]}, NOW
    )
    assert status.count("cilium") == (0, 0)
    assert status.findings("cilium-envoy", "p").errors == ["Envoy does not answer (since start)"]
