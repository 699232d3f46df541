# SPDX-License-Identifier: Apache-2.0
"""Settings as text: where they come from and what a value may look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from cilium_core.errors import ConfigError
from cilium_core.process.settings import Source, parse_flags, read_directory, read_environment


def test_files_are_keys_and_hidden_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "mtu").write_text("1400\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "..data").mkdir()  # what Kubernetes keeps in a mounted ConfigMap
    assert read_directory(tmp_path) == {"mtu": "1400"}
    with pytest.raises(ConfigError, match="config-dir: .* is not a directory"):
        read_directory(tmp_path / "no")


def test_only_our_variables_are_keys() -> None:
    environment = {"CILIUM_CLUSTER_NAME": " one ", "PATH": "/bin"}
    assert read_environment(environment) == {"cluster-name": "one"}


def test_flags() -> None:
    assert parse_flags(["--a", "1", "--b=2", "--c="]) == {"a": "1", "b": "2", "c": ""}
    for words in (["a"], ["--"], ["--a"], ["-a", "1"]):
        with pytest.raises(ConfigError):
            parse_flags(words)


def test_values_by_type() -> None:
    source = Source({"on": " True ", "at": "[::1]:80", "all": ":80"})
    assert source.boolean("on", False) is True
    assert source.boolean("other", True) is True
    assert source.address("at", "") == ("::1", 80)
    assert source.address("all", "") == ("0.0.0.0", 80)
    assert source.asked == {"on", "other", "at", "all"}


@pytest.mark.parametrize("raw", ["", "80", "host:", "host:0", "host:65536", "host:x"])
def test_wrong_values_name_their_key(raw: str) -> None:
    source = Source({"key": raw})
    with pytest.raises(ConfigError, match="key: .* is not host:port"):
        source.address("key", "")
    with pytest.raises(ConfigError, match="key: .* is neither true nor false"):
        source.boolean("key", True)
