# SPDX-License-Identifier: Apache-2.0
"""Text tables, the load-balancer join and the clean-up of a node's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cilium_agent.datapath import programs
from cilium_agent.dbg import cleanup, lists
from cilium_agent.dbg.tables import labelled, table
from cilium_agent.host import network


def test_columns_are_padded_to_the_widest_cell() -> None:
    assert table(["A", "LONG"], [["wide cell", "1"], ["b", "2"]]) == (
        "A           LONG\nwide cell   1\nb           2"
    )
    assert labelled([("A", "1"), ("Longer", "2")]) == "A:        1\nLonger:   2"


def test_load_balancer_join_shows_a_missing_backend() -> None:
    services = {"cache": [{"key": "10.96.0.1:80/TCP", "value": "id=3 count=2 flags=0x0"}]}
    slots = {"cache": [{"key": "3/0", "value": "backend=9"}, {"key": "3/1", "value": "backend=8"}]}
    backends = {"cache": [{"key": "9", "value": "10.0.0.1:8080/TCP"}]}
    lines = lists.load_balancer(services, slots, backends).splitlines()
    assert lines[2].split("   ", 1)[1].strip() == "10.0.0.1:8080/TCP (3) (9)"
    assert lines[3].split("   ", 1)[1].strip() == "(no backend) (3) (8)"


def test_services_with_no_backend_still_show() -> None:
    spec: dict[str, Any] = {
        "id": 4,
        "frontend-address": {"ip": "fd00::1", "port": 53, "protocol": "UDP"},
        "backend-addresses": [],
        "flags": {"type": "ClusterIP"},
    }
    assert lists.services([{"spec": spec}]).splitlines()[1].split() == [
        "4",
        "[fd00::1]:53/UDP",
        "ClusterIP",
    ]


def test_policies_by_label_and_by_number() -> None:
    entry = {"policy": "allow", "direction": "egress", "identity": 300, "ports": "80/TCP"}
    web = {**entry, "labels": ["k8s:app=web", "k8s:tier=front"], "prefix": 24}
    anybody = {**entry, "policy": "deny", "identity": 0, "labels": [], "prefix": 0}
    item = {"endpoint": 7, "policy": 5, "revision": 2, "entries": [anybody, web]}
    empty = {"endpoint": 8, "policy": 0, "revision": 0, "entries": []}
    lines = lists.policies([item, empty]).splitlines()
    assert lines[0] == "Endpoint ID: 7, policy 5, revision 2"
    assert lines[3].split()[:6] == ["Deny", "Egress", "ANY", "80/TCP", "NONE", "disabled"]
    assert lines[3].split()[6:] == ["-", "-", "0", "-"]
    assert lines[4].split()[2:4] == ["k8s:app=web", "80/TCP"]
    assert lines[5].split() == ["k8s:tier=front"]
    assert lines[7] == "Endpoint ID: 8, policy 0 (not enforced), revision 0"
    numbers = lists.policies([item], numeric=True).splitlines()
    assert [line.split()[2] for line in numbers[2:]] == ["IDENTITY", "0", "300"]


def test_connections_are_lines() -> None:
    cache = [{"key": "TCP IN a -> b", "value": "expires=1"}, {"key": "k", "value": "v"}]
    assert lists.connections({"cache": cache}) == "TCP IN a -> b expires=1\nk v"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cleanup, "CNI_CONF", tmp_path / "net.d")
    monkeypatch.setattr(cleanup, "CNI_BIN", tmp_path / "bin")
    monkeypatch.setattr(cleanup, "RUN_DIR", tmp_path / "run")
    monkeypatch.setattr(cleanup, "BPF_ROOT", tmp_path / "bpf")
    (tmp_path / "net.d").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "run/state").mkdir(parents=True)
    (tmp_path / "net.d/05-cilium.conflist").write_text("{}")
    (tmp_path / "net.d/10-other.conf.cilium_bak").write_text("theirs")
    (tmp_path / "bin/cilium-cni").write_text("")
    (tmp_path / "run/state/endpoints.db").write_text("")
    (tmp_path / "run/cilium.sock").write_text("")
    return tmp_path


async def no_devices(run_dir: Path) -> None:
    """Stand in for the node's devices; the state, with its record of settings, goes last."""
    assert run_dir == cleanup.RUN_DIR


def test_cleanup_restores_what_was_there(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "cleanup", no_devices)
    assert cleanup.cleanup(lambda _line: None) == []
    assert [p.name for p in (node / "net.d").iterdir()] == ["10-other.conf"]
    assert (node / "net.d/10-other.conf").read_text() == "theirs"
    assert not list((node / "bin").iterdir())
    assert not list((node / "run").iterdir())
    assert cleanup.cleanup(lambda _line: None) == [], "again on a clean node"


def test_a_part_that_fails_does_not_stop_the_others(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_root: Path) -> None:
        raise OSError("busy")

    monkeypatch.setattr(programs, "cleanup", refuse)
    monkeypatch.setattr(network, "cleanup", no_devices)
    assert cleanup.cleanup(lambda _line: None) == ["eBPF links, programs and maps: busy"]
    assert not list((node / "run").iterdir())


def test_a_running_agent_is_found_by_its_pid_file(tmp_path: Path) -> None:
    assert cleanup.running_agent(tmp_path) is None
    (tmp_path / "cilium.pid").write_text("1\n")  # not an agent
    assert cleanup.running_agent(tmp_path) is None
