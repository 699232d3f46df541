# SPDX-License-Identifier: Apache-2.0
"""Waiting, output and failures of `cilium status`."""

from __future__ import annotations

import asyncio
import json

import pytest

from cilium_cli.errors import StatusError
from cilium_cli.status import command
from cilium_cli.status.command import StatusOptions, _run

from ..conftest import FakeApi, article, daemon_set


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLL_SECONDS", 0.05)


async def test_problems_alone_do_not_fail(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    article(api)
    api.add("daemonsets", daemon_set("cilium", 3, 2))
    await _run(api.access, StatusOptions())
    assert "1 errors, 1 warnings" in capsys.readouterr().out


async def test_what_cannot_be_asked_fails(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StatusError, match=r"^status check failed: \[.*cilium-config"):
        await _run(api.access, StatusOptions())
    assert "ClusterMesh:" in capsys.readouterr().out


async def test_wait_until_ready(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    article(api)
    api.add("daemonsets", daemon_set("cilium", 3, 2))
    waiting = asyncio.create_task(_run(api.access, StatusOptions(wait=True, wait_seconds=20)))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    api.add("daemonsets", daemon_set("cilium", 3))
    await waiting
    shown = capsys.readouterr()
    assert shown.out.count("ClusterMesh:") == 1
    assert shown.err == ("waiting: cilium: 1 pods of DaemonSet cilium are not ready (and 1 more)\n")


async def test_wait_gives_up(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    article(api)
    api.add("daemonsets", daemon_set("cilium", 3, 2))
    with pytest.raises(StatusError, match="^Unable to determine status:  timeout"):
        await _run(api.access, StatusOptions(wait=True, wait_seconds=0.5))
    assert "1 errors, 1 warnings" in capsys.readouterr().err


@pytest.mark.parametrize("ignore", [True, False])
async def test_warnings_count_unless_ignored(api: FakeApi, ignore: bool) -> None:
    article(api)
    api.agent("cilium-0", endpoints=[{"status": {"state": "regenerating"}}])
    options = StatusOptions(wait=True, wait_seconds=0.6, ignore_warnings=ignore)
    if ignore:
        await _run(api.access, options)
    else:
        with pytest.raises(StatusError):
            await _run(api.access, options)


async def test_json(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    article(api)
    await _run(api.access, StatusOptions(json=True))
    assert json.loads(capsys.readouterr().out)["pods_count"] == {"all": 18, "by_cilium": 15}


async def test_redraw_erases_what_it_drew(
    api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    article(api)
    api.add("daemonsets", daemon_set("cilium", 3, 2))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    waiting = asyncio.create_task(_run(api.access, StatusOptions(wait=True, wait_seconds=20)))
    await asyncio.sleep(0.3)
    api.add("daemonsets", daemon_set("cilium", 3))
    await waiting
    out = capsys.readouterr().out
    first, _, _ = out.partition("\033[A")
    assert out.count("\033[A\033[2K") % first.count("\n") == 0
    assert first.count("\n") > 10
