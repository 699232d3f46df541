# SPDX-License-Identifier: Apache-2.0
"""The API on its socket, read by cilium-dbg itself; health and metrics over TCP."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

import aiohttp
import pytest

from cilium_agent.api.app import build
from cilium_agent.api.server import serve_api, serve_health, serve_metrics
from cilium_agent.api.status import status
from cilium_agent.api.views import health
from cilium_agent.config import Settings
from cilium_agent.dbg import main as dbg
from cilium_agent.identity.allocator import Allocator
from cilium_agent.ipam.family import FamilyPool
from cilium_agent.ipam.pool import NodePool
from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.metrics.collector import Renderer
from cilium_agent.model import Endpoint, EndpointState
from cilium_agent.state import AgentState
from cilium_core.crds.models import CiliumIdentity, ObjectMeta

ENDPOINT = Endpoint(
    endpoint_id=42,
    container_id="c1",
    interface="eth0",
    netns="/ns",
    pod_namespace="shop",
    pod_name="web",
    pod_uid="u1",
    ipv4=IPv4Address("10.0.0.9"),
    ipv6=None,
    host_interface="lxc42",
    host_ifindex=9,
    mac=bytes.fromhex("020000000001"),
    node_mac=bytes.fromhex("020000000002"),
    identity=300,
    labels={"k8s:app": "web", "k8s:empty": ""},
    state=EndpointState.READY,
)


class Endpoints:
    def all(self) -> list[Endpoint]:
        return [replace(ENDPOINT, endpoint_id=50, identity=301), ENDPOINT]


class Client:
    """Stands for an API client that has been answered."""

    calls = {("GET", 200): 3}

    def __init__(self, last_contact: float) -> None:
        self.last_contact = last_contact


class Table:
    def __init__(self) -> None:
        self.rows: dict[object, object] = {}

    @property
    def current(self) -> dict[object, object]:
        return self.rows

    def upsert(self, rows: dict[object, object]) -> None:
        self.rows.update(rows)

    def delete(self, keys: list[object]) -> None:
        assert not list(keys), "nothing is deleted here"


@pytest.fixture
def state() -> AgentState:
    made = AgentState(settings=Settings(node_name="node1"), features_not_available=("hubble",))
    made.endpoints = Endpoints()
    allocator = Allocator(None)  # type: ignore[arg-type]
    meta = ObjectMeta(name="300")
    allocator.observe(None, CiliumIdentity(metadata=meta, security_labels={"k8s:app": "web"}))
    made.allocator = allocator
    ipcache = IpcacheWriter(Table(), lambda _raw: False)  # type: ignore[arg-type]
    ipcache.fold.put("x", {ip_network("10.0.0.9/32"): Metadata(Source.POD, 300)})
    ipcache.flush()
    made.ipcache = ipcache
    made.pool = NodePool(FamilyPool(IPv4Network("10.0.0.0/24"), IPv4Address("10.0.0.1")), None)
    made.pool.allocate("lxc42")
    return made


def well(state: AgentState) -> AgentState:
    import time

    state.client = Client(time.monotonic())  # type: ignore[assignment]
    state.kubernetes_version = "v1.36.3"
    state.ready = True
    state.programs_current = True
    return state


async def run_dbg(path: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        "python3",
        *("-m", "cilium_agent.dbg.main", "--host", str(path), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_cilium_dbg_shows_what_the_agent_says(state: AgentState, tmp_path: Path) -> None:
    path = tmp_path / "cilium.sock"
    async with serve_api(build(well(state)), path):
        code, text, _ = await run_dbg(path, "status")
        assert code == 0
        rows = dict(line.split(":", 1) for line in text.splitlines())
        assert rows["Cilium"].split() == ["Ok", "0.1.0", "(v0.1.0)"]
        assert rows["Kubernetes"].split() == ["Ok", "1.36", "(v1.36.3)", "[linux/amd64]"]
        assert rows["IPAM"].strip() == "IPv4: 2/254 allocated from 10.0.0.0/24,"
        assert rows["Not available yet"].strip() == "hubble"
        assert await run_dbg(path, "status", "--brief") == (0, "OK\n", "")

        _, text, _ = await run_dbg(path, "endpoint", "list", "-o", "json")
        listed = json.loads(text)
        assert [item["id"] for item in listed] == [42, 50]
        assert listed[0]["status"]["state"] == "ready"
        assert listed[0]["status"]["identity"]["labels"] == ["k8s:app=web", "k8s:empty"]
        assert listed[0]["status"]["networking"]["mac"] == "02:00:00:00:00:01"

        _, text, _ = await run_dbg(path, "endpoint", "list")
        lines = text.splitlines()
        assert lines[0].split()[:3] == ["ENDPOINT", "POLICY", "(ingress)"]
        assert lines[2].split() == [
            "42",
            *["Disabled"] * 2,
            "300",
            "k8s:app=web",
            "10.0.0.9",
            "ready",
        ]
        assert lines[3].split() == ["k8s:empty"]

        _, text, _ = await run_dbg(path, "identity", "list")
        assert ["300", "k8s:app=web", "1"] in [line.split() for line in text.splitlines()]
        _, text, _ = await run_dbg(path, "ip", "list")
        assert text.splitlines()[1].split() == ["10.0.0.9/32", "300", "shop/web"]

        code, _, error = await run_dbg(path, "bpf", "ipcache", "list")
        assert code == 1
        assert "not open yet" in error
    code, _, error = await run_dbg(path, "status")
    assert code == 1
    assert "is it running?" in error


async def test_endpoints_go_by_upstreams_ids(state: AgentState, tmp_path: Path) -> None:
    path = tmp_path / "cilium.sock"
    connector = aiohttp.UnixConnector(path=str(path))
    async with serve_api(build(state), path), aiohttp.ClientSession(connector=connector) as session:
        for wanted in ("42", "cilium-local:42", "container-id:c1", "cep-name:shop:web",
                       "cni-attachment-id:c1:eth0", "ipv4:10.0.0.9"):  # fmt: skip
            async with session.get(f"http://agent/v1/endpoint/{wanted}") as response:
                assert response.status == 200, wanted
                assert (await response.json())["id"] in (42, 50)
        async with session.get("http://agent/v1/endpoint/7") as response:
            assert response.status == 404
        async with session.get("http://agent/v1/identity/300") as response:
            assert (await response.json()) == {"id": 300, "labels": ["k8s:app=web"]}
        async with session.get("http://agent/v1/healthz", headers={"brief": "true"}) as response:
            assert set(await response.json()) == {"cilium", "kubernetes"}


def test_status_tells_what_is_wrong(state: AgentState) -> None:
    state.waiting_for = "pod CIDRs"
    found = status(state)
    assert found["cilium"] == {"state": "Warning", "msg": "starting: waiting for pod CIDRs"}
    assert found["kubernetes"]["state"] == "Failure"
    well(state).programs_current = False
    assert status(state)["cilium"]["state"] == "Warning"
    from cilium_agent.state import Outcome

    outcome = state.controllers["repair"] = Outcome()
    outcome.failed(OSError("no such device"))
    (controller,) = status(state)["controllers"]
    assert controller["status"]["consecutive-failure-count"] == 1
    assert controller["status"]["last-failure-msg"] == "no such device"
    outcome.succeeded()
    (controller,) = status(state)["controllers"]
    assert controller["status"]["consecutive-failure-count"] == 0
    assert controller["status"]["last-failure-msg"] == ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_health_and_metrics_over_tcp(state: AgentState) -> None:
    health = ("127.0.0.1", free_port())
    metrics = ("127.0.0.1", free_port())
    answer = [(False, "starting")]
    async with (
        serve_health(health, lambda: answer[0]),
        serve_metrics(metrics, Renderer(well(state)).render),
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"http://127.0.0.1:{health[1]}/healthz") as response:
            assert (response.status, await response.text()) == (503, "starting\n")
        answer[0] = (True, "OK")
        async with session.get(f"http://127.0.0.1:{health[1]}/healthz") as response:
            assert response.status == 200
        async with session.get(f"http://127.0.0.1:{metrics[1]}/metrics") as response:
            text = await response.text()
    for line in (
        'cilium_endpoint_state{endpoint_state="ready"} 2.0',
        'cilium_identity{type="cluster_local"} 1.0',
        'cilium_ip_addresses{family="ipv4"} 1.0',
        'cilium_ipam_capacity{cidr="10.0.0.0/24",family="ipv4"} 253.0',
        'cilium_k8s_client_api_calls_total{method="GET",return_code="200"} 3.0',
        'cilium_feature_not_available{feature="hubble"} 1.0',
    ):
        assert line in text.splitlines(), line
    assert "cilium_process_resident_memory_bytes" in text


def test_cleanup_needs_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dbg.main(["cleanup"])
    assert ended.value.code == 2
    assert "--all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (EndpointState.READY, ("OK", "OK", "OK", True)),
        (EndpointState.NOT_READY, ("Warning", "Warning", "Warning", True)),
        (EndpointState.REGENERATING, ("Pending", "Pending", "Pending", True)),
        (EndpointState.WAITING_FOR_IDENTITY, ("Disabled", "Bootstrap", "Disabled", True)),
        (EndpointState.DISCONNECTED, ("Disabled", "Disabled", "Disabled", False)),
    ],
)
def test_health_follows_from_the_state(
    state: EndpointState, words: tuple[str, str, str, bool]
) -> None:
    assert tuple(health(state).values()) == words


def test_a_dead_envoy_is_in_the_status(state: AgentState) -> None:
    assert status(well(state))["proxy"]["state"] == "Ok"
    state.proxies.envoy_error = "Connection refused"
    found = status(state)["proxy"]
    assert (found["state"], found["port-range"]) == ("Failure", "10000-20000")
    assert "Connection refused" in found["msg"]
