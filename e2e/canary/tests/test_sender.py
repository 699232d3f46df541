# SPDX-License-Identifier: Apache-2.0
"""The sender against real servers on loopback: a clean run, and one with every kind of loss."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from e2e.canary import budget
from e2e.canary.errors import CanaryError
from e2e.canary.flows import RATES, Flow, decode, encode, plan
from e2e.canary.sender import Sender
from e2e.probe.http_server import serve_connection
from e2e.probe.server import _echo, _UdpEcho


class Servers:
    """Echo and HTTP servers that a test can break."""

    echo: asyncio.Server
    http: asyncio.Server
    udp: asyncio.DatagramTransport

    async def start(self) -> list[Flow]:
        self.writers: list[asyncio.StreamWriter] = []

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            await _echo(reader, writer)

        self.echo = await asyncio.start_server(echo, "127.0.0.1", 0)
        self.http = await asyncio.start_server(serve_connection, "127.0.0.1", 0)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            _UdpEcho, local_addr=("127.0.0.1", 0)
        )
        self.udp = cast(asyncio.DatagramTransport, transport)
        stream = f"127.0.0.1:{self.echo.sockets[0].getsockname()[1]}"
        datagram = f"127.0.0.1:{self.udp.get_extra_info('sockname')[1]}"
        url = f"http://127.0.0.1:{self.http.sockets[0].getsockname()[1]}/"
        return [
            Flow("tcp-held", "near", 4, stream),
            Flow("tcp-new", "near", 4, stream),
            Flow("udp", "near", 4, datagram),
            Flow("http", "near", 4, url),
            Flow("service-udp", "far", 4, datagram),
        ]

    def break_all(self) -> None:
        self.udp.close()
        self.echo.close()
        self.http.close()
        for writer in self.writers:
            writer.transport.abort()

    def close(self) -> None:
        self.break_all()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    made = Servers()
    yield made
    made.close()


def _verdicts(sender: Sender) -> dict[str, budget.Verdict]:
    return {str(v.flow["kind"]): v for v in budget.judge(sender.report())}


async def test_clean_run_keeps_the_budget(servers: Servers) -> None:
    sender = Sender(await servers.start(), warm_up=0.1)
    await sender.start()
    await asyncio.sleep(2.2)
    report = sender.report()
    sender.stop()
    for flow in report["flows"]:
        assert abs(flow["sent"] - 2.1 * RATES[flow["kind"]]) <= 2
        assert flow["answered"] >= flow["sent"] - 1
    verdicts = budget.judge(report)
    assert [v.failures for v in verdicts] == [()] * 5
    assert "FAILED" not in budget.table(report, verdicts)


async def test_every_loss_is_seen(servers: Servers) -> None:
    sender = Sender(await servers.start(), warm_up=0.0)
    await sender.start()
    await asyncio.sleep(0.6)
    servers.break_all()
    await asyncio.sleep(1.6)
    report = sender.report()
    verdicts = _verdicts(sender)
    sender.stop()
    assert any("resets" in failure for failure in verdicts["tcp-held"].failures)
    for kind in ("tcp-held", "tcp-new", "udp", "http", "service-udp"):
        assert any("lost" in failure for failure in verdicts[kind].failures), kind
    table = budget.table(report, budget.judge(report))
    assert table.count("FAILED") == 5


async def test_a_sender_without_cpu_blames_nobody(servers: Servers) -> None:
    sender = Sender(await servers.start(), warm_up=0.0)
    await sender.start()
    await asyncio.sleep(0.7)
    time.sleep(2.5)  # noqa: ASYNC251 - longer than any deadline, and nothing in this process runs
    await asyncio.sleep(0.7)
    report = sender.report()
    sender.stop()
    assert report["sender_late_ms"] >= 2000
    assert [v.failures for v in budget.judge(report)] == [()] * 5


def _report(**flow: Any) -> dict[str, Any]:
    whole = {
        **{"name": "udp near v4", "kind": "udp", "sent": 9, "answered": 9, "lost": 0, "late": 0},
        **{"resets": 0, "longest_gap_ms": 0.0, "errors": {}, "worst": [], **flow},
    }
    return {"now": 1000.0, "seconds": 1, "sender_late_ms": 5000.0, "flows": [whole]}


@pytest.mark.parametrize(
    ("flow", "failure"),
    [
        ({"longest_gap_ms": 500.0}, ""),
        ({"longest_gap_ms": 501.0}, "silent for 501 ms (budget 500)"),
        ({"lost": 1, "errors": {"no answer": 1}}, "lost 1 (budget 0): {'no answer': 1}"),
        ({"late": 1}, "1 answered late (budget 0)"),
        ({"resets": 1}, "1 resets (budget 0)"),
        ({"answered": 0}, "nothing was answered"),
        ({"kind": "dns", "lost": 4, "late": 10, "longest_gap_ms": 2000.0}, ""),
    ],
)
def test_budget(flow: dict[str, Any], failure: str) -> None:
    """How late the sender once was, 5 s here, excuses nothing: the record has judged that."""
    assert budget.judge(_report(**flow))[0].failures == ((failure,) if failure else ())


@pytest.mark.parametrize(
    ("flow", "failure"),
    [
        ({"answered": 0, "lost": 9, "longest_gap_ms": 9000.0}, ""),
        ({"answered": 1}, "policy forbids it and it was reached 1 times"),
        ({"answered": 0, "sent": 0}, "nothing was tried"),
    ],
)
def test_what_policy_forbids_must_be_tried_and_never_reached(
    flow: dict[str, Any], failure: str
) -> None:
    report = _report(**{"kind": "shut-udp", "name": "shut-udp near v4", **flow})
    assert budget.judge(report)[0].failures == ((failure,) if failure else ())


def test_a_failure_names_its_time_and_the_tests_that_ran() -> None:
    worst = [{"gap_ms": 1500.0, "ago_s": 10.0, "lost": 2, "starved_ms": 500.0}]
    report = _report(longest_gap_ms=1500.0, worst=worst)
    tests = [("before", 900, 987), ("t1", 987, 989), ("t2", 989, 995), ("after", 991, 999)]
    (line,) = budget.failed(
        report, budget.judge(report), [budget.Ran(name, *times) for name, *times in tests]
    )
    assert line.startswith("canary FAILED: udp near v4: silent for 1500 ms (budget 500)")
    assert line.endswith(" in t1, t2")


def test_plan_covers_places_families_and_kinds() -> None:
    flows = plan(
        {"near": ["10.0.0.1", "fd00::1"], "far": ["10.0.1.1", "fd00::2"]},
        {"near": ["10.0.0.3"], "far": ["fd00::3"]},
        ["10.96.0.9"],
        ["10.96.0.10"],
        "x",
    )
    assert len(flows) == 4 * 4 + 2 * 2 + 2 + 1
    assert len({flow.name for flow in flows}) == len(flows)
    assert decode(encode(flows)) == flows
    assert {flow.kind for flow in flows} == set(RATES) == set(budget.BUDGETS)


@pytest.mark.parametrize(
    "text",
    ["", "{}x", '[{"kind": "tcp"}]', '[{"kind":"x","place":"near","family":4,"target":"a:1"}]'],
)
def test_bad_flows_are_named(text: str) -> None:
    with pytest.raises(CanaryError, match="CANARY_FLOWS"):
        decode(text)
