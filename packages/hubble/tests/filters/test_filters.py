# SPDX-License-Identifier: Apache-2.0
"""Column filters against the slow model, over random flows and filters; and bad filters."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hubble_fakes import Node1, drop, trace, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_core.errors import FieldError
from cilium_core.proto import flow_pb2
from cilium_core.proto.flow_pb2 import FlowFilter, HTTPHeader, TCPFlags
from cilium_hubble.filters.compiling import compile_lists
from cilium_hubble.filters.selectors import parse, selectors
from cilium_hubble.flows.build import FlowBuilder
from cilium_hubble.flows.chunk import Chunk

sys.path.insert(0, str(Path(__file__).parent))
from filter_model import passes

ADDRESSES = st.sampled_from(
    ["10.0.0.10", "10.0.0.11", "10.0.1.20", "10.96.0.10", "192.0.2.1", "fd00::1"]
)
PORTS = st.sampled_from([53, 80, 5432])
IDENTITIES = st.sampled_from([0, 2, 1001, 1002, 77])


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([trace, drop, verdict]))
    source, destination = draw(ADDRESSES), draw(ADDRESSES)
    subtypes = {trace: [0, 1, 3, 5], drop: [133, 181, 196], verdict: [0, 133]}[kind]
    return kind(
        source=source,
        destination=destination,
        source_identity=draw(IDENTITIES),
        destination_identity=draw(IDENTITIES),
        subtype=draw(st.sampled_from(subtypes)),
        proto=draw(st.sampled_from([6, 17, 132, 1, 58, 47])),
        flags=draw(st.sampled_from([0, 1, 2])),
        state=draw(st.integers(0, 4)),
        direction=draw(st.integers(0, 2)),
        tcp_flags=draw(st.sampled_from([0x02, 0x12, 0x10, 0x11, 0])),
        sport=draw(PORTS),
        dport=draw(PORTS),
        ifindex=draw(st.integers(0, 2)),
        service_id=draw(st.integers(0, 1)),
    )


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=2)


NAMES = st.sampled_from(["shop/", "shop/web", "data/db-0", "/web-1", "/", "web", "data/x", "data/"])
SELECTORS = st.sampled_from(
    [
        "app=web",
        "k8s:app=db",
        "app",
        "!tier",
        "tier!=front",
        "reserved:world",
        "app=web,tier=front",
        "any:app=db",
        "k8s:tier,!other",
        "world",
    ]
)
CIDRS = st.sampled_from(
    ["10.0.0.10", "10.0.0.0/24", "0.0.0.0/0", "::/0", "fd00::/64", "192.0.2.1/32"]
)
WORKLOADS = st.builds(
    flow_pb2.Workload, name=st.sampled_from(["web", "db"]), kind=st.sampled_from(["", "Deployment"])
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "verdict": st.integers(0, 5),
    "traffic_direction": st.integers(0, 2),
    "drop_reason_desc": st.sampled_from([0, 133, 181]),
    "reply": st.booleans(),
    "ip_version": st.integers(0, 2),
    "encrypted": st.booleans(),
    "protocol": st.sampled_from(["tcp", "UDP", "icmp", "icmpv4", "ICMPv6", "sctp"]),
    "node_name": st.sampled_from(["worker", "work*", "default/", "other/", "*/worker", "x*"]),
    "node_labels": st.sampled_from(["zone=a", "zone=b", "!x", "kubernetes.io/os"]),
    "event_type": st.builds(
        flow_pb2.EventTypeFilter,
        type=st.sampled_from([0, 1, 4, 5]),
        match_sub_type=st.booleans(),
        sub_type=st.sampled_from([0, 1, 133]),
    ),
    "tcp_flags": st.sampled_from([TCPFlags(SYN=True), TCPFlags(SYN=True, ACK=True), TCPFlags()]),
    "interface": st.sampled_from(
        [
            flow_pb2.NetworkInterface(name="eth1"),
            flow_pb2.NetworkInterface(index=2),
            flow_pb2.NetworkInterface(index=2, name="eth1"),
        ]
    ),
    "uuid": st.sampled_from(
        [
            "00000000-0000-8001-8000-000000000000",
            "00000000-0000-8001-8000-000000000002",
            "5c0d5f4e-6a6c-4f2e-8f5b-000000000000",
        ]
    ),
}
for _side in ("source", "destination"):
    FIELDS |= {
        f"{_side}_ip": CIDRS,
        f"{_side}_identity": IDENTITIES,
        f"{_side}_pod": NAMES,
        f"{_side}_service": NAMES,
        f"{_side}_label": SELECTORS,
        f"{_side}_workload": WORKLOADS,
        f"{_side}_cluster_name": st.sampled_from(["default", "def*", "other"]),
        f"{_side}_port": PORTS.map(str),
    }


@st.composite
def filters(draw: st.DrawFn) -> FlowFilter:
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=0, max_size=3, unique=True))
    return FlowFilter(**{name: draw(some(FIELDS[name])) for name in names})


@given(
    st.lists(flows(), max_size=8),
    st.lists(filters(), max_size=3),
    st.lists(filters(), max_size=2),
)
def test_against_the_model(
    rows: list[dict[str, Any]], whitelist: list[FlowFilter], blacklist: list[FlowFilter]
) -> None:
    node = Node1()
    chunk = Chunk.of(node.add(*rows), 0)
    mask = compile_lists(whitelist, blacklist, node.names)(chunk)
    messages = [response.flow for response in FlowBuilder(node.names).responses(chunk)]
    assert mask.tolist() == [passes(flow, whitelist, blacklist) for flow in messages]


@pytest.mark.parametrize("name", sorted(FIELDS))
@settings(max_examples=max(20, settings().max_examples // 4))
@given(st.lists(flows(), min_size=3, max_size=10), st.data())
def test_each_field_against_the_model(
    name: str, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    node = Node1()
    chunk = Chunk.of(node.add(*rows), 0)
    messages = [response.flow for response in FlowBuilder(node.names).responses(chunk)]
    item = FlowFilter(**{name: data.draw(some(FIELDS[name]))})
    mask = compile_lists([item], [], node.names)(chunk)
    assert mask.tolist() == [passes(flow, [item], []) for flow in messages]


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_each_field_separates(name: str) -> None:
    """No field is accepted and ignored: some value of it shows one flow and hides another."""
    node = Node1()
    rows = [
        make(
            **{
                "source": a,
                "destination": b,
                "source_identity": i,
                "destination_identity": j,
                "proto": p,
                "flags": f,
                "direction": d,
                "ifindex": d,
                "service_id": s,
                "state": d,
                "sport": q,
                "dport": q,
            }
        )
        for make, a, b, i, j, p, f, d, s, q in [
            (trace, "10.0.0.10", "10.0.0.11", 1001, 1002, 6, 0, 1, 1, 80),
            (trace, "10.0.0.11", "10.0.0.10", 1002, 1001, 17, 0, 3, 1, 53),
            (drop, "fd00::1", "fd00::1", 2, 2, 58, 1, 2, 0, 5432),
            (verdict, "192.0.2.1", "192.0.2.1", 77, 77, 1, 0, 0, 0, 1),
        ]
    ]
    rows[1]["direction"] = 2
    chunk = Chunk.of(node.add(*rows), 0)
    one_sided = {"node_name", "node_labels", "encrypted"} | {
        f"{side}_cluster_name" for side in ("source", "destination")
    }
    values = {"node_name": "x*", "node_labels": "zone=b", "encrypted": True}.get(name)
    if name in one_sided:
        value = values if values is not None else "other"
        assert not compile_lists([FlowFilter(**{name: [value]})], [], node.names)(chunk).any()
        return
    strategy = FIELDS[name]
    shown = set()
    for value in _examples(strategy):
        mask = compile_lists([FlowFilter(**{name: [value]})], [], node.names)(chunk)
        shown.add(tuple(mask.tolist()))
    assert any(any(mask) and not all(mask) for mask in shown)


def _examples(strategy: st.SearchStrategy[Any]) -> list[Any]:
    found: list[Any] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def test_lost_events_always_pass_and_nothing_else_by_accident() -> None:
    node = Node1()
    node.ingest.lost({0: 3}, 0, 1)
    node.add(trace(), drop())
    chunk = Chunk.of(node.store.read(0, 3), 0)
    nobody = FlowFilter(source_pod=["nobody/"])
    assert compile_lists([nobody], [FlowFilter()], node.names)(chunk).tolist() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("item", "path", "reason"),
    [
        (FlowFilter(http_status_code=["6"]), "whitelist[0].http_status_code[0]", "404 or 5+"),
        (FlowFilter(http_path=["("]), "whitelist[0].http_path[0]", "is no pattern"),
        (FlowFilter(http_header=[HTTPHeader()]), "whitelist[0].http_header[0].key", "is empty"),
        (FlowFilter(source_fqdn=["a b"]), "whitelist[0].source_fqdn[0]", "is not a name"),
        (FlowFilter(source_ip_xlated=["1.1.1.1"]), "whitelist[0].source_ip_xlated", "translated"),
        (
            FlowFilter(experimental=FlowFilter.Experimental(cel_expression=["true"])),
            "whitelist[0].experimental",
            "CEL",
        ),
        (
            FlowFilter(source_ip=["1.1.1.1", "banana"]),
            "whitelist[0].source_ip[1]",
            "'banana' is neither",
        ),
        (FlowFilter(destination_ip=["10.0.0.0/40"]), "whitelist[0].destination_ip[0]", "CIDR"),
        (FlowFilter(source_pod=[""]), "whitelist[0].source_pod[0]", "[namespace/]name"),
        (FlowFilter(source_pod=["a/b/c"]), "whitelist[0].source_pod[0]", "[namespace/]name"),
        (FlowFilter(source_port=["http"]), "whitelist[0].source_port[0]", "'http' is not a port"),
        (FlowFilter(destination_port=["65536"]), "whitelist[0].destination_port[0]", "port number"),
        (
            FlowFilter(protocol=["tcp", "smtp"]),
            "whitelist[0].protocol[1]",
            "'smtp' is not one of tcp",
        ),
        (FlowFilter(source_label=["a=b,"]), "whitelist[0].source_label[0]", "a label is missing"),
        (FlowFilter(source_label=["a in b"]), "whitelist[0].source_label[0]", "from 'a in b' on"),
        (FlowFilter(node_name=["a/b/c"]), "whitelist[0].node_name[0]", "[cluster/]node"),
        (FlowFilter(node_name=["wörker"]), "whitelist[0].node_name[0]", "is not a name"),
        (FlowFilter(uuid=["1"]), "whitelist[0].uuid[0]", "is not a uuid"),
        (FlowFilter(tcp_flags=[TCPFlags(NS=True)]), "whitelist[0].tcp_flags[0].NS", "not recorded"),
        (
            FlowFilter(source_workload=[flow_pb2.Workload()]),
            "whitelist[0].source_workload[0]",
            "neither",
        ),
        (
            FlowFilter(interface=[flow_pb2.NetworkInterface()]),
            "whitelist[0].interface[0]",
            "neither",
        ),
        (FlowFilter.FromString(b"\x92\x3f\x01x"), "whitelist[0].1010", "lacks"),
    ],
)
def test_what_cannot_be_honoured_is_named(item: FlowFilter, path: str, reason: str) -> None:
    with pytest.raises(FieldError) as caught:
        compile_lists([item], [], Node1().names)
    assert caught.value.field == path
    assert reason in caught.value.reason


def test_paths_say_which_list_and_filter() -> None:
    with pytest.raises(FieldError, match=r"blacklist\[1\].ip_trace_id"):
        compile_lists([], [FlowFilter(), FlowFilter(ip_trace_id=[1])], Node1().names)


def test_every_field_of_the_api_is_either_supported_or_refused_by_name() -> None:
    from cilium_hubble.filters.compiling import _FIELDS, _NOT_RECORDED

    names = {field.name for field in FlowFilter.DESCRIPTOR.fields}
    assert names == set(_FIELDS) | set(_NOT_RECORDED)
    assert not set(_FIELDS) & set(_NOT_RECORDED)


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ("app in (web, db)", ["k8s:app=db"], True),
        ("app notin (web,db)", ["k8s:app=db"], False),
        ("app notin (web)", [], True),
        ("k8s:app.kubernetes.io/name=x", ["k8s:app.kubernetes.io/name=x"], True),
        ("container:app", ["k8s:app=db"], False),
        ("app==db", ["k8s:app=db"], True),
        ("! app", ["k8s:app=db"], False),
        ("app=", ["k8s:app"], True),
        ("cidr:10.0.0.0/8", ["cidr:10.0.0.0/8"], True),
    ],
)
def test_selectors(text: str, labels: list[str], holds: bool) -> None:
    assert selectors([text], "x")(labels) is holds


@given(st.text(alphabet="ab:=!,() in", max_size=12))
def test_a_selector_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(FieldError):
        parse(text, "label")
