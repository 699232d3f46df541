# SPDX-License-Identifier: Apache-2.0
"""The command against a real server on a unix socket, in and out as a user sees it."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hubble_fakes import Node1, drop, trace, verdict

from cilium_core.proto.observer_pb2 import ServerStatusResponse
from cilium_hubble.cli import main as main_module
from cilium_hubble.cli import serverflags
from cilium_hubble.cli.configfile import Merged
from cilium_hubble.cli.main import main
from cilium_hubble.cli.status import show
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer, handler

TIME = 1_136_214_245_120_000_000


class Command:
    """Runs `hubble` in a thread, since the server is on this loop."""

    def __init__(self, node: Node1, server: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.node, self.server = node, server
        self._capsys = capsys

    async def __call__(self, *argv: str, server: str | None = None) -> tuple[int, str, str]:
        words = [*argv, "--server", server or self.server]
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, words)
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err


@pytest.fixture
async def hubble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Command]:
    node = Node1(capacity=4095)
    path = tmp_path / "hubble.sock"
    async with serve(path, [handler(Observer(node.ingest, node.names))]):
        yield Command(node, f"unix://{path}", capsys)


async def test_observe(hubble: Any) -> None:
    hubble.node.add(trace(time=TIME), drop(time=TIME, direction=2), verdict(time=TIME))
    code, out, err = await hubble("observe", "--print-policy-names")
    ends = "shop/web-1:40000 (ID:1001) {} data/db-0:5432 (ID:1002)"
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"Jan  2 15:04:05.120: {ends.format('->')} to-endpoint FORWARDED (TCP Flags: SYN)",
        f"Jan  2 15:04:05.120: {ends.format('<>')} Policy denied DROPPED (TCP Flags: SYN)",
        f"Jan  2 15:04:05.120: {ends.format('->')} policy-verdict:L3-L4 INGRESS ALLOWED"
        " BY allow-web (CiliumNetworkPolicy) (TCP Flags: SYN)",
    ]


async def test_observe_filters_and_json(hubble: Any) -> None:
    hubble.node.add(*(trace(sport=n) for n in range(30)), drop(sport=99))
    for argv, ports in (
        (["--verdict", "DROPPED"], [99]),
        (["--last", "2"], [29, 99]),
        (["--first", "2"], [0, 1]),
        (["--pod", "shop/web", "--not", "-t", "trace"], [99]),
        (["-n", "nowhere"], []),
        (["-l", "app=db", "--to-port", "5432", "--last", "1"], [99]),
        ([], [*range(11, 30), 99]),
    ):
        code, out, _ = await hubble("observe", "-o", "json", *argv)
        flows = [json.loads(line)["flow"] for line in out.splitlines()]
        assert [flow["l4"]["TCP"].get("source_port", 0) for flow in flows] == ports, argv
        assert code == 0


async def test_observe_other_forms(hubble: Any) -> None:
    hubble.node.add(trace(time=TIME))
    _, out, _ = await hubble("observe", "-o", "table", "--print-node-name", "--numeric")
    assert out.splitlines()[1].split("   ")[1:4] == [
        "default/worker",
        "10.0.0.10:40000",
        "10.0.0.11:5432",
    ]
    _, out, _ = await hubble("observe", "-o", "dict", "--ip-translation=false")
    assert "     SOURCE: 10.0.0.10:40000\n" in out


async def test_lost_events_are_shown_and_can_be_silenced(hubble: Any) -> None:
    hubble.node.ingest.lost({2: 5}, TIME, TIME)
    _, out, err = await hubble("observe")
    assert (out, err) == ("", "EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(2) 5\n")
    assert await hubble("observe", "-s") == (0, "", "")


async def test_follow_ends_by_a_signal(hubble: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cilium_hubble.cli.main",
        *("observe", "-f", "--server", hubble.server, "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None

    async def feed() -> None:
        while True:
            hubble.node.add(trace(sport=7))
            await asyncio.sleep(0.05)

    feeding = asyncio.create_task(feed())
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert json.loads(line)["flow"]["l4"]["TCP"]["source_port"] == 7
    process.send_signal(2)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    feeding.cancel()


async def test_what_the_server_refuses_is_told(hubble: Any) -> None:
    code, out, err = await hubble("observe", "--snat-ip", "1.1.1.1")
    assert (code, out) == (1, "")
    assert "--snat-ip: is not supported: translated source addresses" in err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--from-ip", "x"], ": --from-ip: 'x' is neither an address nor a CIDR"),
        (["--ip", "10.0.0.0/40"], ": --ip: "),
        (["--to-port", "80", "--to-port", "http"], ": --to-port: "),
        (["--not", "--to-ip", "x"], ": --not --to-ip: "),
        (["--from-label", "a=b", "--to-label", "!"], ": --to-label: "),
        (["--uuid", "x"], ": --uuid: 'x' is not a uuid"),
        (["-n", "a", "--pod", "b/c/d"], ": --namespace or --pod: "),
        (["--port", "1", "--allowlist", '{"source_ip": ["x"]}'], ": --allowlist: source_ip[0]: "),
        (["--denylist", '{"source_ip": ["x"]}'], ": --denylist: source_ip[0]: "),
    ],
)
async def test_refused_fields_are_named_as_the_flags_given(
    hubble: Any, argv: list[str], named: str
) -> None:
    code, out, err = await hubble("observe", *argv)
    assert (code, out) == (1, "")
    assert named in err
    assert "list[" not in err


async def test_flags_that_are_wrong_are_told(hubble: Any) -> None:
    code, _, err = await hubble("observe", "--verdict", "LOST")
    assert code == 2
    assert "--verdict: 'LOST' is not a verdict" in err
    code, _, err = await hubble("observe", "--last", "x")
    assert code == 2
    code, _, err = await hubble("observe", "--last", "1", "--first", "1")
    assert (code, err) == (1, "--first: cannot be combined with --last\n")


async def test_no_server(hubble: Any, tmp_path: Path) -> None:
    server = f"unix://{tmp_path}/nobody.sock"
    for argv in (["observe"], ["status"], ["list", "nodes"], ["list", "namespaces"]):
        code, out, err = await hubble(*argv, server=server)
        assert (code, out) == (1, "")
        assert err.startswith(f"failed to connect to '{server}': ")


async def test_status(hubble: Any) -> None:
    hubble.node.add(*(trace() for _ in range(10)))
    code, out, _ = await hubble("status")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"Healthcheck (via {hubble.server}): Ok"
    assert lines[1] == "Current/Max Flows: 10/4,095 (0.24%)"
    assert lines[2].startswith("Flows/s: ")
    assert len(lines) == 3
    _, out, _ = await hubble("status", "-o", "json")
    assert json.loads(out)["max_flows"] == "4095"


def test_status_of_a_relay() -> None:
    status = ServerStatusResponse(num_flows=8190, max_flows=8190, seen_flows=1 << 20, version="v1")
    status.num_connected_nodes.value, status.num_unavailable_nodes.value = 2, 3
    status.unavailable_nodes.extend(["b", "a"])
    status.flows_rate, status.uptime_ns = 12.341, 3723 * 10**9
    assert show(status, "compact") == (
        "Current/Max Flows: 8,190/8,190 (100.00%)\nFlows/s: 12.34\nConnected Nodes: 2/5\n"
        "Unavailable Nodes: 3\n  - a\n  - b\n  - and 1 more...\n"
    )
    assert show(status, "dict") == (
        "          NUM FLOWS: 8,190\n"
        "          MAX FLOWS: 8,190\n"
        "         SEEN FLOWS: 1,048,576\n"
        "   FLOWS PER SECOND: 12.34\n"
        "             UPTIME: 1h2m3s\n"
        "NUM CONNECTED NODES: 2\n"
        " NUM UNAVAIL. NODES: 3\n"
        "            VERSION: v1\n"
    )
    assert show(status, "table").startswith("NUM FLOWS   MAX FLOWS   SEEN FLOWS   FLOWS PER SECOND")
    assert show(ServerStatusResponse(), "compact") == "Current/Max Flows: 0/0\nFlows/s: N/A\n"


async def test_lists(hubble: Any) -> None:
    hubble.node.add(trace(time=time.time_ns()))
    _, out, _ = await hubble("list", "nodes")
    head, node = out.splitlines()
    assert head.split() == ["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"]
    assert node.split()[:2] == ["default/worker", "Connected"]
    assert node.endswith("1/4095 (  0.02%)")
    _, out, _ = await hubble("list", "nodes", "-o", "wide")
    assert out.splitlines()[0].endswith("VERSION         ADDRESS   TLS")
    assert out.rstrip().endswith("Disabled")
    _, out, _ = await hubble("list", "nodes", "-o", "json")
    assert json.loads(out)[0]["state"] == "NODE_CONNECTED"
    assert (await hubble("list", "namespaces"))[1] == "NAMESPACE\ndata\nshop\n"
    _, out, _ = await hubble("list", "namespaces", "-o", "wide")
    assert out == "NAMESPACE   CLUSTER\ndata        default\nshop        default\n"
    _, out, _ = await hubble("list", "namespaces", "-o", "json")
    assert json.loads(out) == [
        {"cluster": "default", "namespace": "data"},
        {"cluster": "default", "namespace": "shop"},
    ]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("hubble v0.1.0 compiled with python3.")


def test_help_needs_no_grpc() -> None:
    code = "import sys; from cilium_hubble.cli import main; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert main_module.__doc__ is not None


def test_the_default_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serverflags, "LOCAL_SOCKET", tmp_path / "s")
    monkeypatch.delenv("HUBBLE_SERVER", raising=False)
    monkeypatch.setenv("HUBBLE_CONFIG", str(tmp_path / "none"))

    def server() -> str:
        return serverflags.server_of(Merged(argparse.Namespace()))

    assert server() == "localhost:4245"
    (tmp_path / "s").touch()
    assert server() == f"unix://{tmp_path}/s"
    monkeypatch.setenv("HUBBLE_SERVER", "relay:80")
    assert server() == "relay:80"
