# SPDX-License-Identifier: Apache-2.0
"""Batches into rows: verdicts, replies, clocks, and names that the future does not change."""

from __future__ import annotations

import numpy as np
import pytest
from hubble_fakes import (
    ALLOW_WEB,
    DB_LABELS,
    DENY_ALL,
    Node1,
    directory,
    drop,
    events,
    trace,
    verdict,
)
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.addresses import pack_address
from cilium_core.layouts.events import EventFlag
from cilium_hubble.flows.clock import boot_to_wall
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.flows.record import Reply, Verdict
from cilium_hubble.flows.store import Store
from cilium_hubble.state.directory import Directory, Endpoint, Peer
from cilium_hubble.state.model import ServiceName
from cilium_hubble.state.rules import Rule

AUDIT = int(EventFlag.AUDIT)


@pytest.mark.parametrize(
    ("row", "want", "reply"),
    [
        (trace(state=1), Verdict.FORWARDED, Reply.NO),
        (trace(state=2), Verdict.FORWARDED, Reply.NO),
        (trace(state=3), Verdict.FORWARDED, Reply.YES),
        (trace(state=4), Verdict.FORWARDED, Reply.NO),
        (trace(state=0), Verdict.FORWARDED, Reply.UNKNOWN),
        (drop(), Verdict.DROPPED, Reply.UNKNOWN),
        (drop(state=3), Verdict.DROPPED, Reply.UNKNOWN),
        (verdict(), Verdict.FORWARDED, Reply.NO),
        (verdict(subtype=133), Verdict.DROPPED, Reply.UNKNOWN),
        (verdict(subtype=133, flags=AUDIT), Verdict.AUDIT, Reply.NO),
        (verdict(flags=AUDIT), Verdict.AUDIT, Reply.NO),
    ],
)
def test_verdict_and_reply(row: dict[str, object], want: Verdict, reply: Reply) -> None:
    (stored,) = Node1().add(row)
    assert (stored["verdict"], stored["reply"]) == (want, reply)


def test_answers_have_the_direction_of_their_connection() -> None:
    """As upstream: what comes back to a client belongs to its egress."""
    rows = Node1().add(
        *(trace(state=state, direction=d) for state in (1, 3) for d in (0, 1, 2)), drop(direction=1)
    )
    assert rows["direction"].tolist() == [0, 1, 2, 0, 2, 1, 1]


def test_everything_else_is_carried_over() -> None:
    fields = {"tx_packets": 1 << 40, "rx_packets": 7, "revision": 9, "ifindex": 3, "length": 1500}
    fields |= {"endpoint_id": 8, "line": 321, "icmp_type": 8, "icmp_code": 1, "match": 6}
    made = trace(**fields, source="2001:db8::1", flags=1)
    (stored,) = Node1().add(made)
    for name, value in fields.items():
        assert stored[name] == value
    assert (stored["sport"], stored["dport"], stored["flags"]) == (40000, 5432, 1)
    assert stored["source"].tobytes() == pack_address("2001:db8::1")


def test_boot_time_becomes_wall_time() -> None:
    ingest = Ingest(Store(10), Directory(), clock=lambda: 1_700_000_000_000_000_000)
    rows = ingest.add(events(trace(time=5), trace(time=7)))
    assert rows["time"].tolist() == [1_700_000_000_000_000_005, 1_700_000_000_000_000_007]


def test_the_offset_is_that_of_this_machine() -> None:
    import time

    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + boot_to_wall()
    assert abs(now - time.time_ns()) < 10**9


def test_events_of_unknown_types_are_counted_and_left_out() -> None:
    node = Node1()
    assert len(node.add(trace(), trace(type=77), trace(type=0))) == 1
    assert node.ingest.unknown == 2
    assert node.store.flows == 1


def test_an_empty_batch_is_nothing() -> None:
    node = Node1()
    assert len(node.add()) == 0
    assert node.store.next_sequence == 0


def names(node: Node1, rows: np.ndarray) -> list[tuple[str, str]]:
    parties = node.ingest.parties
    return [(parties[r["source_party"]].pod, parties[r["destination_party"]].pod) for r in rows]


def test_a_reused_address_does_not_change_the_past() -> None:
    node = Node1()
    node.add(trace())
    node.directory.remove_endpoint(7)
    node.directory.put_endpoint(
        Endpoint(9, "shop", "web-9", 1001, (), (pack_address("10.0.0.10"),))
    )
    node.add(trace())
    assert names(node, node.store.read(0, 2)) == [("web-1", "db-0"), ("web-9", "db-0")]


def test_news_of_identities_prefixes_and_the_node_reach_the_names() -> None:
    node = Node1(known=Directory())
    row = trace(source="10.3.0.1", source_identity=0, destination_identity=1234)

    def seen() -> tuple[int, str, tuple[str, ...], str]:
        (stored,) = node.add(row)
        parties = node.ingest.parties
        source, destination = (
            parties[stored["source_party"]],
            parties[stored["destination_party"]],
        )
        return source.identity, source.pod, destination.labels, source.cluster

    assert seen() == (0, "", (), "default")
    node.directory.put_identity(1234, ("k8s:a=b",))
    assert seen() == (0, "", ("k8s:a=b",), "default")
    node.directory.put_prefix("10.3.0.0/24", Peer(500))
    assert seen()[:2] == (500, "")
    node.directory.put_prefix("10.3.0.1/32", Peer(501, "ns", "pod"))
    assert seen()[:2] == (501, "pod")
    node.directory.remove_identity(1234)
    assert seen()[2] == ()
    node.directory.put_node(node.directory.node._replace(cluster="other"))
    assert seen()[3] == "other"


def test_who_decided_is_named_as_of_the_events_revision() -> None:
    node = Node1()
    first = node.add(verdict(), verdict(bits=1), drop(policy=3, revision=5, word=1, bits=4))
    origins = [node.ingest.origins[number] for number in first["rules"]]
    assert origins == [(ALLOW_WEB,), (), ()]
    rules = (Rule(1, True, (), None, DENY_ALL),)
    node.directory.rules.put(3, 6, rules)
    later = node.add(
        verdict(),
        verdict(revision=6, subtype=133),
        drop(policy=3, revision=6),
        drop(policy=3, revision=6, subtype=196),
        trace(policy=3, revision=6),
    )
    named = [node.ingest.origins[number] for number in later["rules"]]
    assert named == [(ALLOW_WEB,), (DENY_ALL,), (DENY_ALL,), (), ()]


def test_news_of_rules_reach_the_events_after_them() -> None:
    """Rows are in force before the agent's word of them is in: later events are named."""
    node = Node1()
    early = node.add(verdict(policy=9, revision=1))
    node.directory.rules.put(9, 1, (Rule(1, False, (), None, ALLOW_WEB),))
    late = node.add(verdict(policy=9, revision=1))
    named = [node.ingest.origins[rows["rules"][0]] for rows in (early, late)]
    assert named == [(), (ALLOW_WEB,)]


def test_icmp_rules_go_by_the_message_type() -> None:
    node = Node1()
    from cilium_hubble.state.rules import Ports

    node.directory.rules.put(4, 1, (Rule(1, False, (Ports(1, 8, 8),), None, ALLOW_WEB),))
    made = verdict(policy=4, proto=1, icmp_type=8, dport=77), verdict(policy=4, proto=1, dport=8)
    rows = node.add(*made)
    assert [len(node.ingest.origins[number]) for number in rows["rules"]] == [1, 0]


def test_services_by_number_on_the_side_that_serves_and_by_frontend() -> None:
    node = Node1()
    rows = node.add(
        trace(service_id=1),
        trace(service_id=1, state=3),
        trace(destination="10.96.0.10"),
        trace(destination="10.96.0.10", dport=1),
        trace(service_id=99),
    )
    db = node.ingest.services.number(ServiceName("data", "db"))
    sides = [(r["source_service"], r["destination_service"]) for r in rows]
    assert sides == [(0, db), (db, 0), (0, db), (0, 0), (0, 0)]


def test_namespaces_are_seen_with_the_time() -> None:
    node = Node1()
    node.add(trace(time=5), trace(time=9))
    assert node.ingest.namespaces == {("default", "shop"): 9, ("default", "data"): 9}


def test_what_no_row_names_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cilium_hubble.flows.store.MIN_SLOTS", 64)
    monkeypatch.setattr("cilium_hubble.flows.ingest._COLLECT_ABOVE", 100)
    node = Node1(capacity=1)
    for batch in range(40):
        numbers = range(batch * 50, batch * 50 + 50)
        node.add(*(trace(source=f"10.7.{n >> 8}.{n & 255}", source_identity=n) for n in numbers))
    assert len(node.ingest.parties) < 400
    for row in node.store.read(node.store.oldest, node.store.next_sequence):
        raw = row["source"].tobytes()
        party = node.ingest.parties[row["source_party"]]
        assert party.identity == raw[14] * 256 + raw[15]
        assert node.ingest.parties[row["destination_party"]].pod == "db-0"


def test_who_was_forgotten_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached number must not outlive the value that it stood for."""
    monkeypatch.setattr("cilium_hubble.flows.store.MIN_SLOTS", 16)
    monkeypatch.setattr("cilium_hubble.flows.ingest._COLLECT_ABOVE", 8)
    node = Node1(capacity=1)
    for step in range(60):
        node.add(trace(source=f"10.8.0.{step}", source_identity=step + 300))
        if step % 20 == 0:
            (row,) = node.add(trace(source="10.0.1.20", service_id=1), verdict())[:1]
            assert node.ingest.parties[row["source_party"]].pod == "web-2"
            assert node.ingest.services[row["destination_service"]].name == "db"
            last = node.store.read(node.store.next_sequence - 1, node.store.next_sequence)[0]
            assert node.ingest.origins[last["rules"]] == (ALLOW_WEB,)


PEERS = st.sampled_from(["10.0.0.10", "10.0.0.11", "10.0.1.20", "192.0.2.1", "fd00::1"])
IDS = st.sampled_from([0, 2, 1001, 1002, 5000])


@given(st.lists(st.lists(st.tuples(PEERS, IDS, PEERS, IDS), max_size=8), max_size=5), st.data())
def test_a_batch_is_named_as_row_by_row(
    batches: list[list[tuple[str, int, str, int]]], data: st.DataObject
) -> None:
    """Caches against asking the directory each time, with changes in between."""
    known = directory()
    node = Node1(known=known)
    for batch in batches:
        rows = node.add(
            *(
                trace(source=a, source_identity=i, destination=b, destination_identity=j)
                for a, i, b, j in batch
            )
        )
        for row, (a, i, b, j) in zip(rows, batch, strict=True):
            assert node.ingest.parties[row["source_party"]] == known.party(pack_address(a), i)
            assert node.ingest.parties[row["destination_party"]] == known.party(pack_address(b), j)
        match data.draw(st.integers(0, 5)):
            case 0:
                known.remove_endpoint(7)
            case 1:
                known.put_endpoint(
                    Endpoint(7, "x", "new", data.draw(IDS), DB_LABELS, (pack_address("10.0.0.10"),))
                )
            case 2:
                known.put_identity(data.draw(IDS), ("k8s:x=y",))
            case 3:
                known.remove_prefix("10.0.1.20/32")
            case 4:
                known.put_prefix("192.0.2.0/24", Peer(data.draw(IDS)))
