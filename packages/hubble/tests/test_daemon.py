# SPDX-License-Identifier: Apache-2.0
"""The daemon whole: a kernel's ring, an agent's state, and what clients of each socket get."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from cilium_agent.nodestate.facts import NodeFact
from cilium_agent.nodestate.service import serve as serve_state
from cilium_agent.nodestate.state import NodeState
from cilium_core.proto import observer_pb2 as pb
from cilium_hubble import daemon as daemon_module
from cilium_hubble import main as main_module
from cilium_hubble.config import HistorySettings, Settings
from cilium_hubble.daemon import Daemon
from cilium_hubble.errors import RingBusy
from cilium_hubble.history.writer import Limits
from cilium_hubble.kernel.ring import STRIDE

sys.path.insert(0, str(Path(__file__).parent / "kernel"))
from producer import Producer

pytestmark = pytest.mark.root
RING = 1 << 16


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bpffs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.fixture
def settings(tmp_path: Path, bpffs: Path) -> Settings:
    (bpffs / "maps").mkdir()
    return Settings(
        node_name="worker",
        run_dir=tmp_path / "run",
        bpf_root=bpffs,
        socket=tmp_path / "run" / "hubble.sock",
        metrics_address=("127.0.0.1", _free_port()),
    )


@pytest.fixture
async def running(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Daemon, Producer]]:
    monkeypatch.setattr(daemon_module, "NAMES_SECONDS", 0.2)
    producer = Producer(settings.bpf_root / "maps", RING)
    made = Daemon(settings)
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(5):
        while not settings.monitor_socket.exists():  # noqa: ASYNC110 - a file appears
            await asyncio.sleep(0.01)
    yield made, producer
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    producer.close()


async def follow(path: Path, count: int) -> list[pb.GetFlowsResponse]:
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        method = channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=pb.GetFlowsRequest.SerializeToString,
            response_deserializer=pb.GetFlowsResponse.FromString,
        )
        got, seen = [], 0
        async for response in method(pb.GetFlowsRequest(follow=True, number=1 << 60)):
            got.append(response)
            seen += response.lost_events.num_events_lost or 1
            if seen >= count:
                return got
    raise AssertionError("the stream ended")


async def test_every_event_is_seen_or_declared_lost(
    running: tuple[Daemon, Producer], settings: Settings
) -> None:
    made, producer = running
    sent = 3 * (RING // STRIDE)
    reading = asyncio.create_task(follow(settings.socket, sent))
    await asyncio.sleep(0.3)
    producer.run(sent)  # on this thread: the daemon cannot read meanwhile
    got = await asyncio.wait_for(reading, 20)
    flows = [response for response in got if response.HasField("flow")]
    lost = sum(response.lost_events.num_events_lost for response in got)
    assert lost > 0
    assert len(flows) + lost == sent
    assert (made.source.seen, made.source.lost) == (len(flows), lost)
    assert made.ingest.store.flows == len(flows)


async def test_names_come_from_the_agent(
    running: tuple[Daemon, Producer], settings: Settings
) -> None:
    made, producer = running
    state = NodeState()
    state.put(NodeFact("named", "c1", ("a=b",)))
    state.open()
    async with serve_state(settings.node_state_socket, state):
        await asyncio.wait_for(made.applier.synced.wait(), 10)
        producer.run(1)
        (response,) = await asyncio.wait_for(follow(settings.socket, 1), 5)
    assert response.node_name == response.flow.node_name == "c1/named"
    assert list(response.flow.node_labels) == ["a=b"]


async def test_monitor_and_metrics(running: tuple[Daemon, Producer], settings: Settings) -> None:
    made, producer = running
    reader, writer = await asyncio.open_unix_connection(settings.monitor_socket)
    writer.write(b"{}\n")
    await reader.readline()
    await asyncio.sleep(0.3)
    producer.run(5)
    for _ in range(5):
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"-> endpoint 0 flow 0x")
    writer.close()
    await asyncio.sleep(0.05)
    assert settings.metrics_address is not None
    _, port = settings.metrics_address
    text = await asyncio.to_thread(
        lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    )
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["hubble_flows_processed"].samples
    assert sample.value == 5
    assert sample.labels == {
        "protocol": "Unknown protocol",
        "type": "Trace",
        "subtype": "to-endpoint",
        "verdict": "FORWARDED",
    }
    lost = {s.labels["source"]: s.value for s in families["hubble_lost_events"].samples}
    sources = ("perf_event_ring_buffer", "hubble_ring_buffer", "observer_events_queue")
    assert lost == dict.fromkeys(sources, 0)
    assert families["hubble_ring_events_seen"].samples[0].value == 5
    assert families["hubble_ring_bytes"].samples[0].value == RING
    assert families["hubble_stored_flows"].samples[0].value == 5
    assert made.observer.rate.per_second() >= 0


async def test_a_second_daemon_stays_away(
    running: tuple[Daemon, Producer], settings: Settings
) -> None:
    with pytest.raises(RingBusy):
        Daemon(settings)
    assert await main_module.serve(settings) == 1


async def test_the_process_ends_by_sigterm_and_the_next_goes_on(settings: Settings) -> None:
    producer = Producer(settings.bpf_root / "maps", RING)
    run_dir = settings.run_dir
    run_dir.mkdir(parents=True)
    (run_dir / "config").mkdir()
    command = [sys.executable, "-m", "cilium_hubble.main", "--config-dir", str(run_dir / "config")]
    command += ["--state-dir", str(run_dir), "--hubble-socket-path", str(settings.socket)]
    command += ["--hubble-metrics-server", "127.0.0.1:29966"]
    # The settings put the maps under <bpf-root>/cilium; here they are straight under the mount.
    (run_dir / "bpf").mkdir()
    (run_dir / "bpf" / "cilium").symlink_to(settings.bpf_root)
    command += ["--bpf-root", str(run_dir / "bpf")]
    producer.run(3)
    state = NodeState()
    state.open()
    async with serve_state(settings.node_state_socket, state):
        await two_lives(command, settings, producer)
    producer.close()


async def two_lives(command: list[str], settings: Settings, producer: Producer) -> None:
    for total in (3, 2):
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"K8S_NODE_NAME": "worker"},
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            while not settings.socket.exists():  # noqa: ASYNC110 - a file appears
                await asyncio.sleep(0.02)
            flows = await follow(settings.socket, total)
        assert len(flows) == total
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, err
        last = json.loads(err.decode().strip().splitlines()[-1])
        assert last["msg"].startswith("hubble stops")
        producer.run(2)


async def test_flows_outlive_the_daemon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(daemon_module, "NAMES_SECONDS", 0.2)
    limits = Limits(16 << 20, 3600.0)
    kept = structs.replace(settings, history=HistorySettings(tmp_path / "flows.db", limits))
    producer = Producer(settings.bpf_root / "maps", RING)
    times = []
    for _ in range(2):
        task = asyncio.create_task(Daemon(kept).run())
        async with asyncio.timeout(5):
            while not settings.access_socket.exists():  # noqa: ASYNC110 - a file appears
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        producer.run(3)
        await asyncio.sleep(0.5)
        async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel:
            method = channel.unary_stream(
                "/observer.Observer/GetFlows",
                request_serializer=pb.GetFlowsRequest.SerializeToString,
                response_deserializer=pb.GetFlowsResponse.FromString,
            )
            found = [one async for one in method(pb.GetFlowsRequest(number=100, first=True))]
        times.append([one.flow.time.ToNanoseconds() for one in found])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    producer.close()
    first, second = times
    assert (len(first), len(second)) == (3, 6)
    assert second == sorted(second)
    assert second[:3] == first
