# SPDX-License-Identifier: Apache-2.0
"""The CNI folder: ours written whole, others set aside and brought back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cilium_agent.host import cni_files
from cilium_agent.host.errors import HostError


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_others_are_set_aside_and_restored(tmp_path: Path) -> None:
    (tmp_path / "10-old.conflist").write_text("old")
    (tmp_path / "87-podman.conf").write_text("podman")
    (tmp_path / "README").write_text("kept")
    assert cni_files.write_conf(tmp_path, exclusive=True)
    assert names(tmp_path) == {
        "05-cilium.conflist",
        "10-old.conflist.cilium_bak",
        "87-podman.conf.cilium_bak",
        "README",
    }
    conf = json.loads((tmp_path / "05-cilium.conflist").read_text())
    assert conf["cniVersion"] == "1.0.0"
    assert conf["plugins"] == [{"type": "cilium-cni"}]
    assert not cni_files.write_conf(tmp_path, exclusive=True)
    cni_files.remove_conf(tmp_path)
    assert names(tmp_path) == {"10-old.conflist", "87-podman.conf", "README"}
    assert (tmp_path / "10-old.conflist").read_text() == "old"
    cni_files.remove_conf(tmp_path)


def test_shared_folders_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "10-old.conflist").write_text("old")
    assert cni_files.write_conf(tmp_path, exclusive=False)
    assert names(tmp_path) == {"05-cilium.conflist", "10-old.conflist"}


def test_a_changed_file_is_written_again(tmp_path: Path) -> None:
    cni_files.write_conf(tmp_path, exclusive=True)
    wanted = (tmp_path / "05-cilium.conflist").read_bytes()
    (tmp_path / "05-cilium.conflist").write_text("{")
    assert cni_files.write_conf(tmp_path, exclusive=True)
    assert (tmp_path / "05-cilium.conflist").read_bytes() == wanted


def test_what_came_back_meanwhile_wins_over_the_backup(tmp_path: Path) -> None:
    (tmp_path / "10-old.conflist").write_text("old")
    cni_files.write_conf(tmp_path, exclusive=True)
    (tmp_path / "10-old.conflist").write_text("newer")
    cni_files.remove_conf(tmp_path)
    assert (tmp_path / "10-old.conflist").read_text() == "newer"


def test_the_plugin_is_installed_executable(tmp_path: Path) -> None:
    (tmp_path / "built").write_bytes(b"binary")
    target = cni_files.install_plugin(tmp_path / "built", tmp_path / "bin")
    assert target == tmp_path / "bin" / "cilium-cni"
    assert target.stat().st_mode & 0o777 == 0o755
    cni_files.install_plugin(tmp_path / "built", tmp_path / "bin")
    assert names(tmp_path / "bin") == {"cilium-cni"}
    cni_files.remove_plugin(tmp_path / "bin")
    assert names(tmp_path / "bin") == set()


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cilium-cni"):
        cni_files.install_plugin(tmp_path / "absent", tmp_path / "bin")
    assert names(tmp_path / "bin") == set()
