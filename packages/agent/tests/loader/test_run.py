# SPDX-License-Identifier: Apache-2.0
"""A loader that ends at once is a failed load, on the event loop that the agent runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from cilium_agent.datapath import programs
from cilium_agent.datapath.errors import ProgramsUnavailable
from cilium_agent.model import DatapathSettings

SETTINGS = DatapathSettings(
    host_ifindex=1,
    vxlan_ifindex=2,
    host_mac=bytes(6),
    node_netns_cookie=1,
    mtu=1500,
    enable_ipv4=True,
    enable_ipv6=True,
)


def test_it_may_end_before_it_has_read_anything(tmp_path: Path) -> None:
    """uvloop's pipe raises RuntimeError then, which ended the agent."""

    async def load() -> None:
        for _ in range(40):
            with pytest.raises(ProgramsUnavailable, match="ended with 1"):
                await programs._load(SETTINGS, tmp_path, tmp_path / "target", "/bin/false")

    uvloop.run(load())


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 60\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(programs, "_LOAD_SECONDS", 0.2)

    async def load() -> None:
        with pytest.raises(ProgramsUnavailable, match="did not finish"):
            await programs._load(SETTINGS, tmp_path, tmp_path / "target", str(hangs))

    uvloop.run(load())
