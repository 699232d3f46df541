# SPDX-License-Identifier: Apache-2.0
"""Settings from the ConfigMap's directory, the environment and flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from cilium_core.errors import ConfigError
from cilium_hubble.config import Settings, load
from cilium_hubble.main import main
from cilium_hubble.tls import CertificateFiles

TLS = Path("/var/lib/cilium/tls/hubble")
NODE = {"K8S_NODE_NAME": "worker"}


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, NODE, {}) == Settings(node_name="worker")
    settings = Settings(node_name="worker")
    assert settings.monitor_socket == Path("/var/run/cilium/monitor.sock")
    assert settings.node_state_socket == Path("/var/run/cilium/nodestate.sock")


def test_files_then_the_environment_then_flags(tmp_path: Path) -> None:
    for key, value in {
        "hubble-socket-path": "unix:///run/h.sock\n",
        "hubble-event-buffer-capacity": "8191",
        "hubble-metrics-server": "127.0.0.1:1234",
        "cluster-name": "c1",
        "state-dir": "/run/c",
        "bpf-root": "/bpf",
        "hubble-listen-address": ":4244",
        "hubble-tls-key-file": "/tls/k",
        "debug": "true",
        "tunnel-protocol": "vxlan",
        "..data": "x",
    }.items():
        (tmp_path / key).write_text(value)
    assert load(tmp_path, NODE, {}) == Settings(
        node_name="worker",
        cluster_name="c1",
        run_dir=Path("/run/c"),
        bpf_root=Path("/bpf/cilium"),
        socket=Path("/run/h.sock"),
        capacity=8191,
        metrics_address=("127.0.0.1", 1234),
        listen_address=("", 4244),
        certificates=CertificateFiles(TLS / "server.crt", Path("/tls/k"), TLS / "client-ca.crt"),
        debug=True,
    )
    environment = {**NODE, "CILIUM_HUBBLE_EVENT_BUFFER_CAPACITY": "16383"}
    assert load(tmp_path, environment, {}).capacity == 16383
    assert load(tmp_path, environment, {"hubble-event-buffer-capacity": "1"}).capacity == 1
    assert load(tmp_path, NODE, {"hubble-metrics-server": ""}).metrics_address is None
    assert load(tmp_path, NODE, {"hubble-metrics-server": "[::1]:9"}).metrics_address == ("::1", 9)


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"hubble-event-buffer-capacity": "4096"}, None, "one less than a power of two"),
        ({"hubble-event-buffer-capacity": "131071"}, None, "at most 65535"),
        ({"hubble-event-buffer-capacity": "0"}, None, "'0' is not"),
        ({"hubble-event-buffer-capacity": "many"}, None, "'many' is not"),
        ({"hubble-metrics-server": "9965"}, None, "is not host:port"),
        ({"hubble-metrics-server": ":99999"}, None, "is not host:port"),
        ({"hubble-shoe": "1"}, None, "is not a key that hubble knows"),
        *(
            ({f"hubble-history-{key}": value, "hubble-history-enabled": "true"}, None, words)
            for key, value, words in (
                ("max-bytes", "much", "is not a number of bytes such as 256Mi"),
                ("max-bytes", "15Mi", "is not between 16Mi and"),
                ("max-age", "1d", "is not a duration of a minute or more"),
                ("max-age", "59s", "is not a duration of a minute or more"),
            )
        ),
        ({"hubble-metrics": "drops"}, None, "'drops' is not a metric"),
        ({"debug": "yes"}, None, "neither true nor false"),
    ],
)
def test_bad_values(tmp_path: Path, values: dict[str, str], key: None, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, NODE, values)
    assert caught.value.field == (key or next(iter(values)))
    assert words in caught.value.reason


def test_in_the_clear(tmp_path: Path) -> None:
    assert load(tmp_path, NODE, {"hubble-disable-tls": "true"}).certificates is None


def test_what_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="K8S_NODE_NAME"):
        load(tmp_path, {}, {})
    with pytest.raises(ConfigError, match="config-dir: .* is not a directory"):
        load(tmp_path / "no", NODE, {})


def test_the_command_tells_bad_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--config-dir", str(tmp_path), "--hubble-event-buffer-capacity", "5"])
    assert ended.value.code == 2
    assert "cilium-hubble: " in capsys.readouterr().err
    main(["--help"])
    assert "hubble-event-buffer-capacity" in capsys.readouterr().out


def test_history(tmp_path: Path) -> None:
    assert load(tmp_path, NODE, {}).history is None
    given = {
        "hubble-history-enabled": "true",
        "hubble-history-max-bytes": "2Gi",
        "hubble-history-max-age": "1h30m",
    }
    found = load(tmp_path, NODE, given).history
    assert found is not None
    assert found.limits == (2 << 30, 5400.0)
    assert str(found.path) == "/var/lib/cilium/hubble/flows.db"
