# SPDX-License-Identifier: Apache-2.0
"""The probe against its own servers on loopback, as a process and in process."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from e2e.probe import clients, load, matrix, raw
from e2e.probe.errors import TargetError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


@dataclass
class Served:
    """Ports of a running `probe serve`."""

    echo: int
    http: int


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def probe(*args: str, stdin: str = "") -> tuple[int, list[object]]:
    """The command's exit status and its JSON lines."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "e2e.probe", *args),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(child.communicate(stdin.encode()), 30)
    assert child.returncode is not None
    return child.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    ports = Served(_free_port(), _free_port())
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "e2e.probe", "serve", "--tcp", str(ports.echo)),
        *("--udp", str(ports.echo), "--http", str(ports.http)),
        cwd=ROOT,
        env={**os.environ, "POD_NAME": "pod-a"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    await asyncio.wait_for(child.stdout.readline(), 20)
    yield ports
    child.terminate()
    assert await asyncio.wait_for(child.wait(), 10) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("size", [1, 1400, 65000])
async def test_echoes(served: Served, host: str, size: int) -> None:
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    for attempt in (clients.tcp, clients.udp):
        outcome = await attempt(f"{host}:{served.echo}", size=size)
        assert outcome.ok, outcome
        assert outcome.detail == {"bytes": size}
        assert outcome.peer == f"{host.strip('[]')} {served.echo}"


async def test_http_says_who_asked(served: Served) -> None:
    outcome = await clients.http(f"http://127.0.0.1:{served.http}/x?y=1", size=100000)
    assert outcome.ok, outcome
    body = outcome.detail["body"]
    assert (body["pod"], body["method"], body["path"]) == ("pod-a", "POST", "/x?y=1")
    assert body["received"] == 100000
    assert body["client"] == outcome.local
    refused = await clients.http(f"http://127.0.0.1:{served.http}/status/403")
    assert (refused.ok, refused.error) == (False, "status 403")


async def test_error_words(served: Served) -> None:
    closed = _free_port()
    assert (await clients.tcp(f"127.0.0.1:{closed}")).error == "refused"
    assert (await clients.udp(f"127.0.0.1:{closed}")).error == "refused"
    assert (await clients.tcp("no-such-name.invalid:80")).error == "name"
    waited = await clients.http(f"http://127.0.0.1:{served.http}/wait?s=5", within=0.1)
    assert waited.error == "timeout"


async def test_command_lines_and_matrix(served: Served) -> None:
    target = f"127.0.0.1:{served.echo}"
    status, lines = await probe("tcp", "--target", target, "--count", "3", "--rate", "100")
    assert status == 0
    assert [line["ok"] for line in lines if isinstance(line, dict)] == [True] * 3

    closed = _free_port()
    elements = [
        {"id": 1, "kind": "tcp", "target": target},
        {"id": 2, "kind": "tcp", "target": f"127.0.0.1:{closed}"},
        {"id": 3, "kind": "udp", "target": target, "size": 9},
        {"id": 4, "kind": "http", "target": f"http://127.0.0.1:{served.http}/", "timeout": 5},
    ]
    status, lines = await probe("matrix", stdin=json.dumps(elements))
    assert status == 1
    assert isinstance(lines[0], list)
    assert [(r["id"], r["ok"], r.get("error")) for r in lines[0]] == [
        (1, True, None),
        (2, False, "refused"),
        (3, True, None),
        (4, True, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "must be a JSON list"),
        ('[{"kind": "icmp", "target": "x"}]', "element 0: kind"),
        ('[{"kind": "tcp", "target": "nowhere"}]', "'nowhere'"),
        ('[{"kind": "tcp", "target": "a:1", "prot": 1}]', "unknown member prot"),
    ],
)
async def test_bad_matrix_is_refused_before_any_try(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        await matrix.run(text, 1.0)


async def test_fetch_and_held(served: Served) -> None:
    base = f"http://127.0.0.1:{served.http}"
    size = 40_000_001
    fast = await load.fetch(f"{base}/bytes?n={size}", 5.0)
    assert fast.ok, fast
    assert fast.detail["bytes"] == size
    paced = await load.fetch(f"{base}/bytes?n=500000&rate=1000000", 5.0)
    assert paced.ok
    assert 300 < paced.ms < 3000
    summary = await load.held(f"{base}/", 50, 500.0, 5.0)
    assert (summary.sent, summary.ok, summary.errors) == (50, 50, {})


async def test_a_stall_and_a_close_are_seen() -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n1234567890")
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await load.fetch(f"http://127.0.0.1:{port}/bytes?n=20", 5.0)
    assert (outcome.ok, outcome.error, outcome.detail["bytes"]) == (False, "closed", 10)
    assert outcome.detail["longest_stall_ms"] >= 290
    outcome = await load.fetch(f"http://127.0.0.1:{port}/bytes?n=20", 0.1)
    assert outcome.error == "timeout"
    server.close()


async def test_raw_requests_are_told_with_what_the_server_saw(served: Served) -> None:
    target = f"127.0.0.1:{served.http}"
    asked = "GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
    elements = [
        {"target": target, "sends": [asked + asked.replace("one", "two")]},
        {"target": target, "sends": ["nonsense\r\n\r\n"]},
        {"target": target, "sends": []},
    ]
    status, lines = await probe("raw", stdin=json.dumps(elements))
    assert status == 0
    assert isinstance(lines[0], list)
    details = [outcome["detail"] for outcome in lines[0]]
    assert [(d["statuses"], d["closed"]) for d in details] == [
        ([200, 200], False),
        ([400], True),
        ([], False),
    ]
    seen = (await clients.http(f"http://{target}/seen")).detail["body"]["seen"]
    assert seen == [f"127.0.0.1 GET /{path}" for path in ("one", "two", "seen")]


async def test_talk_keeps_its_connection_and_opens_a_new_one_after_an_error(served: Served) -> None:
    target = f"127.0.0.1:{served.http}"
    words = ("talk", "--target", target, "--timeout", "0.5")
    _, told = await probe(*words, stdin="/a\n/status/403\n/wait?s=9\n/b\n")
    assert [t.get("detail", {}).get("status") or t["error"] for t in told] == [
        *(200, 403),
        *("timeout", 200),
    ]
    ports = [t["local"] for t in told]
    assert ports[0] == ports[1] == ports[2] != ports[3]


async def test_a_bad_list_of_raw_requests_is_refused() -> None:
    with pytest.raises(TargetError, match="not a JSON list"):
        await raw.run('[{"target": "a:1"}]')
