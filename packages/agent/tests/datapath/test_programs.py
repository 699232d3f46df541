# SPDX-License-Identifier: Apache-2.0
"""The way to the loader, with commands that stand for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from cilium_agent.datapath import programs
from cilium_agent.datapath.errors import ProgramsUnavailable
from cilium_agent.datapath.programs import ensure_programs
from cilium_agent.datapath.store import remove_other_layouts
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


def loader(tmp_path: Path, script: str) -> str:
    """Write the shell script that is run instead of the loader."""
    path = tmp_path / "loader"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("end", ["exec 0<&-; exit 3", "exit 3"])
def test_loader_may_end_before_it_reads_its_request(tmp_path: Path, end: str) -> None:
    # In the agent's own event loop, where this once was a RuntimeError.
    command = loader(tmp_path, end)

    async def often() -> None:
        for _ in range(20):
            with pytest.raises(ProgramsUnavailable, match="ended with 3"):
                await ensure_programs(SETTINGS, tmp_path / "bpffs", command)

    uvloop.run(often())


def test_what_the_loader_says_is_the_error(tmp_path: Path) -> None:
    command = loader(tmp_path, r"printf 'no bcc \377 here' >&2; exit 1")
    with pytest.raises(ProgramsUnavailable, match="no bcc . here"):
        uvloop.run(ensure_programs(SETTINGS, tmp_path / "bpffs", command))


def test_loader_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LOAD_SECONDS", 0.2)
    command = loader(tmp_path, "exec sleep 30")
    with pytest.raises(ProgramsUnavailable, match="did not finish"):
        uvloop.run(ensure_programs(SETTINGS, tmp_path / "bpffs", command))


def test_a_machine_without_the_interpreter(tmp_path: Path) -> None:
    with pytest.raises(ProgramsUnavailable, match="CILIUM_LOADER_PYTHON"):
        uvloop.run(ensure_programs(SETTINGS, tmp_path / "bpffs", str(tmp_path / "no")))


def test_older_programs_go_on_when_the_loader_fails(tmp_path: Path) -> None:
    older = tmp_path / "bpffs" / "progs" / "0123"
    older.mkdir(parents=True)
    map_of_older = tmp_path / "bpffs" / "maps" / "cilium_lxc_v1"
    map_of_older.parent.mkdir()
    map_of_older.touch()
    kept = uvloop.run(ensure_programs(SETTINGS, tmp_path / "bpffs", loader(tmp_path, "exit 1")))
    assert (kept.directory, kept.current) == (older, False)
    assert map_of_older.exists()


def test_maps_of_other_layouts_go_and_no_others(tmp_path: Path) -> None:
    kept = {"cilium_lxc_v2", "cilium_ct_v1", "cilium_policy_ids_v1", "cilium_lxc_vx"}
    kept |= {"cilium_foreign_v1", "cilium_lxc", "lxc_v1", "cilium_lxc_v1.new"}
    for name in (*kept, "cilium_lxc_v1", "cilium_lxc_v11", "cilium_policy_ids_v2"):
        (tmp_path / name).touch()
    removed = remove_other_layouts(tmp_path)
    assert removed == ["cilium_lxc_v1", "cilium_lxc_v11", "cilium_policy_ids_v2"]
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert remove_other_layouts(tmp_path) == []
    assert remove_other_layouts(tmp_path / "no") == []
