# SPDX-License-Identifier: Apache-2.0
"""Flows on disk: the same answers as a plain list would give, whatever happens to the file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from history_model import LIMITS, Seen, answers, ask, made, ports, running, shown
from hubble_fakes import Node1, drop, events, trace
from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_core.proto.access_pb2 import Record
from cilium_core.proto.flow_pb2 import FORWARDED
from cilium_hubble.flows import store as store_module
from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.history import database as database_module
from cilium_hubble.history import writer as writer_module
from cilium_hubble.history.database import Database
from cilium_hubble.history.packing import Unreadable, unpack
from cilium_hubble.history.writer import FAILED, OVERWRITTEN, WAITED, Limits
from cilium_hubble.observer.query import parse
from cilium_hubble.observer.reader import Reader
from cilium_hubble.state.model import Party


@st.composite
def _runs(draw: st.DrawFn) -> list[list[list[tuple[int, bool]]]]:
    """Runs of hubble, each of batches of (time, dropped); late rows among them."""
    batch = st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=12)
    return draw(st.lists(st.lists(batch, max_size=5), min_size=1, max_size=3))


_NUMBERS = st.integers(0, 40)
_REQUESTS = st.one_of(
    st.builds(
        lambda n, s, u, d: ask(last=n, until=u, dropped=d),
        _NUMBERS,
        _NUMBERS,
        st.integers(1, 70),
        st.booleans(),
    ),
    st.builds(
        lambda n, s, u, d: ask(first=n, since=s, until=u, dropped=d),
        _NUMBERS,
        st.integers(0, 70),
        st.integers(0, 70),
        st.booleans(),
    ),
    st.builds(lambda n, s: ask(last=n, since=s), _NUMBERS, st.integers(1, 70)),
).filter(lambda request: request.first or request.HasField("since") or request.HasField("until"))
# Without any of these, what is in memory is meant: `test_the_last_ones_are_those_in_memory`.


@given(
    _runs(),
    st.lists(_REQUESTS, min_size=1, max_size=6),
    st.sampled_from([1, 3, 7]),
    st.integers(1, 9),
)
@settings(deadline=None, max_examples=max(20, settings.default.max_examples // 2))
def test_equals_a_plain_list(runs, requests, capacity, segment):
    """Ring and files of several runs together answer as one list of all flows."""

    async def check() -> None:
        flows: list[Seen] = []
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(writer_module, "SEGMENT", segment)
            for number, batches in enumerate(runs):
                node = Node1(capacity)
                node.names = node.names._replace(ids=FlowIds(number))
                async with running(Path(folder, "flows.db"), node) as history:
                    for batch in batches:
                        fields = []
                        for at, dropped in batch:
                            port = 1 + len(flows)
                            flows.append(Seen(at, port, dropped))
                            fields.append((drop if dropped else trace)(time=at, sport=port))
                        if fields:
                            node.add(*fields)
                        for request in requests:
                            assert await ports(node, history, request) == shown(flows, request)
                assert not history.dropped.total()

    asyncio.run(check())


@pytest.fixture
async def kept(tmp_path):
    node = Node1(capacity=15)
    async with running(tmp_path / "flows.db", node) as history:
        yield node, history


async def test_the_last_ones_are_those_in_memory(kept):
    """A filter that matches few flows must not have the whole history read."""
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(40)))
    await asyncio.sleep(0)
    found = await ports(node, history, ask(last=100))
    assert 0 < len(found) <= 15
    assert found == list(range(40))[-len(found) :]
    assert await ports(node, history, ask(last=100, since=1)) == list(range(40))


async def test_a_flow_from_disk_is_the_flow_that_was_in_memory(kept, monkeypatch):
    """Message for message: names, rules, services, texts of requests, uuid."""
    node, history = kept
    node.add(trace(time=5, ifindex=3, sport=1), drop(time=6, sport=2, policy=3, revision=5))
    record = Record(time_ns=7, source="10.0.0.10", source_port=3, destination="10.0.0.11")
    record.destination_port, record.direction, record.protocol = 80, 1, 6
    record.verdict = FORWARDED
    record.l7.http.method, record.l7.http.url = "GET", "http://shop/?HUBBLE_REDACTED"
    record.origins.append("CiliumNetworkPolicy data/allow spec.ingress[0]")
    node.ingest.add_requests([record])
    before = await answers(node, None, ask(since=1))
    assert [one.flow.uuid != "" for one in before] == [True] * 3
    node.add(*(trace(time=100 + n, sport=1000 + n) for n in range(40)))
    await history.settle()
    node.ingest.parties.keep_only([])  # their numbers are given anew
    node.ingest.parties.number(Party(pod="another"))
    after = await answers(node, history, ask(since=1, until=50))
    assert after == before


async def test_the_file_is_private_and_restarts_go_on(kept, tmp_path):
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(40)))
    await history.settle()
    for path in tmp_path.glob("flows.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert len(list(tmp_path.glob("flows.db*"))) == 3
    assert history.total.flows == 40
    assert history.total.bytes > 4096


_CHILD = """
import asyncio, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from history_model import made
from hubble_fakes import Node1, trace
async def main():
    node = Node1(15)
    history = made(Path(sys.argv[2]), node)
    await history.start()
    asyncio.create_task(history.run())
    for start in range(0, 3000, 100):
        node.add(*(trace(time=start + n + 1, sport=start + n) for n in range(100)))
        await history.settle()
    node.add(*(trace(time=9000 + n, sport=9000 + n) for n in range(100)))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_what_was_written_survives_a_kill(tmp_path):
    path, tests = tmp_path / "flows.db", Path(__file__).parents[1]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _CHILD, str(tests), str(path)], check=False
    )
    assert done.returncode == -9
    node = Node1(15)
    node.names = node.names._replace(ids=FlowIds(77))
    async with running(path, node) as history:
        found = await ports(node, history, ask(since=1, until=8000))
    assert found == list(range(3000))


@pytest.mark.parametrize("damage", ["garbage", "foreign", "version", "torn"])
async def test_a_file_that_cannot_be_used_is_moved_aside(tmp_path, damage, capsys):
    path = tmp_path / "flows.db"
    node = Node1(15)
    if damage == "garbage":
        path.write_bytes(os.urandom(20_000))
    elif damage == "foreign":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (a)")
        other.close()
    else:
        Database(path, LIMITS.max_bytes).close()
        if damage == "version":
            other = sqlite3.connect(path)
            other.execute("PRAGMA user_version=99")
            other.close()
        else:
            raw = bytearray(path.read_bytes())
            raw[100:] = os.urandom(len(raw) - 100)
            path.write_bytes(raw)
    before = path.read_bytes()
    async with running(path, node) as history:
        node.add(*(trace(time=n + 1, sport=n) for n in range(40)))
        assert await ports(node, history, ask(first=3)) == [0, 1, 2]
    aside = path.with_name("flows.db.unusable")
    if damage != "torn":  # SQLite may have rolled its log into it
        assert aside.read_bytes()[24:] == before[24:] or damage in ("foreign", "version")
    assert aside.exists()
    assert "moved aside" in capsys.readouterr().out


async def test_bytes_and_age_bound_the_file(tmp_path, monkeypatch):
    """The newest stay; the file and its log stay below the budget."""
    path, node = tmp_path / "flows.db", Node1(15)
    limits = Limits(16 << 20, 3600.0)
    monkeypatch.setattr(database_module, "_BESIDE", 15 << 20)  # leaves a MiB for the file
    history = made(path, node, limits)
    await history.start()
    now, rng, sent = time.time_ns(), np.random.default_rng(3), 0
    for _ in range(24):
        batch = events(*([trace()] * 1)).repeat(4096)
        batch["time"] = now + np.arange(sent, sent + 4096)
        batch["source"] = rng.integers(0, 256, batch["source"].shape)  # does not compress
        batch["destination"] = rng.integers(0, 256, batch["source"].shape)
        batch["source_identity"] = batch["destination_identity"] = 0
        node.ingest.add(batch)
        history._take()
        while history._waiting:
            await history._write()
        sent += 4096
        taken = sum(file.stat().st_size for file in tmp_path.glob("flows.db*"))
        assert taken <= limits.max_bytes
        assert path.stat().st_size <= (1 << 20) + (64 << 10)
    assert not history.dropped.total()
    assert 0 < history.total.flows < sent
    metas = await history.metas(0, 1 << 62, node.store.next_sequence)
    assert metas[-1].ends == now + sent - 1
    history._limits = Limits(16 << 20, 1e-9)
    await history._prune()
    assert history.total.flows == 0
    await history.close()


async def test_rows_that_are_not_kept_are_counted_and_told(kept, monkeypatch):
    """Each row is either in the file or counted, and a query over the gap tells of it."""
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(20)))
    await history.settle()
    monkeypatch.setattr(writer_module, "WAITING", 0)
    node.add(*(trace(time=n + 101, sport=n) for n in range(30)))
    await history.settle()
    monkeypatch.undo()
    node.add(*(trace(time=n + 201, sport=n) for n in range(40)))
    await history.settle()
    assert history.dropped == {OVERWRITTEN: 0, WAITED: 30, FAILED: 0}
    found = await answers(node, history, ask(since=1))
    assert sum(one.lost_events.num_events_lost for one in found) == 30
    assert sum(one.HasField("flow") for one in found) == 60


async def test_rows_that_gave_way_before_they_were_taken_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "MIN_SLOTS", 16)
    node = Node1(7)
    history = made(tmp_path / "flows.db", node)
    await history.start()
    node.add(*(trace(time=n + 1, sport=n) for n in range(100)))
    history._take()
    await history.close()
    assert history.dropped[OVERWRITTEN] == 100 - 16
    assert history.written == 100


async def test_a_disk_that_fails_drops_and_says_so_and_goes_on(kept, monkeypatch, capsys):
    node, history = kept

    def full(*_: object) -> None:
        raise OSError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "add", full)
        node.add(*(trace(time=n + 1, sport=n) for n in range(20)))
        await history.settle()
    assert history.dropped[FAILED] == 20
    assert "disk is full" in capsys.readouterr().out
    node.add(*(trace(time=n + 101, sport=n) for n in range(20)))
    await history.settle()
    assert history.total.flows == 20


async def test_a_damaged_segment_is_counted_as_missed(kept, tmp_path):
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(40)))
    await history.settle()
    other = sqlite3.connect(tmp_path / "flows.db")
    other.execute("UPDATE segment SET packed = x'00'")
    other.commit()
    other.close()
    found = await answers(node, history, ask(since=1))
    assert sum(one.lost_events.num_events_lost for one in found) == 40
    with pytest.raises(Unreadable):
        unpack(b"\0")


async def test_rows_that_give_way_while_older_ones_are_read_come_from_disk(kept):
    """A slow client of a busy node: the ring is overrun before the client comes there."""
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(100)))
    query = parse(ask(since=1), node.names)
    reader = Reader(node.store, node.names, query, lambda: 0, None, history)
    got: list[int] = []
    async for chunk, _ in reader.chunks():
        if not got:
            for _ in range(9):
                node.ingest.add(events(*([trace(time=50_000)] * 4096)))
                await history.settle()
            assert node.store.oldest > 100
        got += chunk.rows["sport"].tolist()
    assert got == list(range(100))
    assert reader.missed == 0


async def test_a_follower_of_the_past_catches_up_out_of_the_history(kept):
    node, history = kept
    node.add(*(trace(time=n + 1, sport=n) for n in range(100)))
    request = ask(since=1)
    request.follow = True
    reader = Reader(node.store, node.names, parse(request, node.names), lambda: 0, None, history)
    got: list[int] = []
    more = 36_000
    async with aclosing(reader.chunks()) as chunks:
        async for chunk, _ in chunks:
            if not got:
                for start in range(100, 100 + more, 4000):
                    numbers = range(start, start + 4000)
                    node.add(*(trace(time=n + 1, sport=n) for n in numbers))
                    await history.settle()
                assert node.store.oldest > 100
            got += chunk.rows["sport"].tolist()
            if len(got) == 100 + more:
                break
    assert got == list(range(100 + more))
    assert reader.missed == 0
