# SPDX-License-Identifier: Apache-2.0
"""The command line's exit codes and messages for wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest

from cilium_operator.main import start


def test_wrong_configuration_ends_with_2_and_names_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster-pool-ipv4-cidr").write_text("10.0.0.0/8 10.1.0.0/16")
    assert start([f"--config-dir={tmp_path}"], {}) == 2
    assert "cluster-pool-ipv4-cidr: 10.0.0.0/8 and 10.1.0.0/16 overlap" in capsys.readouterr().err


def test_no_server_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start([f"--config-dir={tmp_path}"], {}) == 2
    assert "KUBERNETES_SERVICE_HOST" in capsys.readouterr().err


def test_a_kubeconfig_without_context_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("clusters: []\n")
    assert start([f"--config-dir={tmp_path}/none", f"--kubeconfig={file}"], {}) == 2
    assert "no usable context" in capsys.readouterr().err
