# SPDX-License-Identifier: Apache-2.0
"""Filter flags into FlowFilters: either end, namespaces, `--not`, conflicts, bad values."""

from __future__ import annotations

import argparse

import pytest

from cilium_core.errors import FieldError
from cilium_core.proto import flow_pb2 as pb
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_hubble.cli import observe
from cilium_hubble.cli.flowfilters import NAMESPACES, PLAIN, SIDED, Filters

NOW = 1_700_000_000 * 10**9


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    observe.add_flags(parser)
    return parser.parse_args(argv)


def lists(*argv: str) -> tuple[list[FlowFilter], list[FlowFilter]]:
    return parsed(*argv).filters.lists()


def shown(*argv: str) -> list[FlowFilter]:
    whitelist, blacklist = lists(*argv)
    assert not blacklist
    return whitelist


def test_no_flags_no_filters() -> None:
    assert lists() == ([], [])


@pytest.mark.parametrize(
    ("argv", "filters"),
    [
        (["--from-ip", "1.1.1.1", "--from-ip", "2.2.2.2"], [{"source_ip": ["1.1.1.1", "2.2.2.2"]}]),
        (
            ["--ip", "1.1.1.1", "--verdict", "DROPPED", "--verdict", "AUDIT"],
            [
                {"source_ip": ["1.1.1.1"], "verdict": [2, 4]},
                {"destination_ip": ["1.1.1.1"], "verdict": [2, 4]},
            ],
        ),
        (["--pod", "ns/a"], [{"source_pod": ["ns/a"]}, {"destination_pod": ["ns/a"]}]),
        (["--from-pod", "a", "--to-pod", "b"], [{"source_pod": ["a"], "destination_pod": ["b"]}]),
        (["-n", "x"], [{"source_pod": ["x/"]}, {"destination_pod": ["x/"]}]),
        (
            ["--namespace", "x", "--namespace", "y", "--pod", "a", "--pod", "z/b"],
            [
                {"source_pod": ["x/a", "y/a", "z/b"]},
                {"destination_pod": ["x/a", "y/a", "z/b"]},
            ],
        ),
        (
            ["--from-namespace", "x", "--to-namespace", "y"],
            [{"source_pod": ["x/"], "destination_pod": ["y/"]}],
        ),
        (["--to-namespace", "y", "--to-pod", "a"], [{"destination_pod": ["y/a"]}]),
        (["--to-namespace", "y", "--to-service", "a"], [{"destination_service": ["y/a"]}]),
        (["-A"], [{"source_pod": ["/"]}, {"destination_pod": ["/"]}]),
        (["--from-all-namespaces", "--from-pod", "a"], [{"source_pod": ["/a"]}]),
        (
            ["-l", "k1=v1,k2=v2", "--label", "k3"],
            [{"source_label": ["k1=v1,k2=v2", "k3"]}, {"destination_label": ["k1=v1,k2=v2", "k3"]}],
        ),
        (["--identity", "host"], [{"source_identity": [1]}, {"destination_identity": [1]}]),
        (["--to-identity", "kube-apiserver"], [{"destination_identity": [7]}]),
        (["--from-identity", "4711"], [{"source_identity": [4711]}]),
        (["--port", "53"], [{"source_port": ["53"]}, {"destination_port": ["53"]}]),
        (["--protocol", "udp"], [{"protocol": ["udp"]}]),
        (["-4"], [{"ip_version": [1]}]),
        (["--ipv6"], [{"ip_version": [2]}]),
        (["--ip-version", "none"], [{"ip_version": [0]}]),
        (["--traffic-direction", "Ingress"], [{"traffic_direction": [1]}]),
        (["--drop-reason-desc", "POLICY_DENIED"], [{"drop_reason_desc": [133]}]),
        (["--node-name", "k8s*"], [{"node_name": ["k8s*"]}]),
        (["--cluster", "prod-*"], [{"node_name": ["prod-*/"]}]),
        (["--tcp-flags", "syn,ACK"], [{"tcp_flags": [pb.TCPFlags(SYN=True, ACK=True)]}]),
        (["--to-workload", "web"], [{"destination_workload": [pb.Workload(name="web")]}]),
        (
            ["--from-workload", "Deployment/web"],
            [{"source_workload": [pb.Workload(kind="Deployment", name="web")]}],
        ),
        (["--interface", "eth0"], [{"interface": [pb.NetworkInterface(name="eth0")]}]),
        (["--http-header", "a:b"], [{"http_header": [pb.HTTPHeader(key="a", value="b")]}]),
        (["--uuid", "u"], [{"uuid": ["u"]}]),
    ],
)
def test_flags(argv: list[str], filters: list[dict[str, object]]) -> None:
    assert shown(*argv) == [FlowFilter(**fields) for fields in filters]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("drop", pb.EventTypeFilter(type=1)),
        ("l7", pb.EventTypeFilter(type=129)),
        ("policy-verdict", pb.EventTypeFilter(type=5)),
        ("254", pb.EventTypeFilter(type=254)),
        ("255:127", pb.EventTypeFilter(type=255, match_sub_type=True, sub_type=127)),
        ("trace:to-endpoint", pb.EventTypeFilter(type=4, match_sub_type=True)),
        ("trace:from-overlay", pb.EventTypeFilter(type=4, match_sub_type=True, sub_type=9)),
        ("4:2", pb.EventTypeFilter(type=4, match_sub_type=True, sub_type=2)),
    ],
)
def test_event_types(text: str, kind: pb.EventTypeFilter) -> None:
    assert shown("-t", text) == [FlowFilter(event_type=[kind])]


def test_not_reverses_the_next_flag_only() -> None:
    whitelist, blacklist = lists("--from-ip", "1.1.1.1", "--not", "--to-ip", "5.5.5.5", "-t", "l7")
    assert whitelist == [
        FlowFilter(source_ip=["1.1.1.1"], event_type=[pb.EventTypeFilter(type=129)])
    ]
    assert blacklist == [FlowFilter(destination_ip=["5.5.5.5"])]
    assert lists("--not", "--pod", "a", "--not", "--port", "80")[1] == [
        FlowFilter(source_pod=["a"], source_port=["80"]),
        FlowFilter(destination_pod=["a"], destination_port=["80"]),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("ip", "from-ip"),
        ("to-fqdn", "ip"),
        ("pod", "fqdn"),
        ("from-namespace", "from-ip"),
        ("namespace", "to-pod"),
        ("label", "to-label"),
        ("service", "from-service"),
        ("port", "to-port"),
        ("identity", "from-identity"),
        ("workload", "to-workload"),
        ("namespace", "from-service"),
        ("node-name", "cluster"),
    ],
)
def test_conflicts(names: tuple[str, str]) -> None:
    for one, other in (names, names[::-1]):
        filters = Filters()
        filters.add(one, "1")
        filters.add(one, "2")
        with pytest.raises(FieldError, match=f"--{other}: cannot be combined with --{one}"):
            filters.add(other, "1")


def test_what_goes_together() -> None:
    names = ("to-service", "from-service", "from-identity", "to-ip", "from-pod", "from-port")
    filters = Filters()
    for name in names:
        filters.add(name, "1")
    filters.negate()
    filters.add("ip", "1")  # the other list
    assert len(filters.lists()[1]) == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("verdict", "dropped", "'dropped' is not a verdict; there are FORWARDED, DROPPED"),
        ("drop-reason-desc", "", "'' is not a drop reason"),
        ("identity", "nobody", "neither a number nor one of unknown, host"),
        ("from-identity", str(1 << 32), "neither a number"),
        ("traffic-direction", "up", "neither ingress nor egress"),
        ("ip-version", "5", "is not none, v4 or v6"),
        ("tcp-flags", "syn,xyz", "'syn,xyz' is not a list of TCP flags; there are ACK"),
        ("type", "some", "--type: 'some' is not an event type; there are "),
        ("type", "drop:x", "--type: 'drop:x' has a wrong subtype; after drop: stands a number"),
        ("type", "trace:nowhere", "'trace:nowhere' has a wrong subtype; after trace: stands to-"),
        ("http-header", "x", "is not name:value"),
    ],
)
def test_bad_values(name: str, value: str, words: str) -> None:
    with pytest.raises(FieldError) as caught:
        Filters().add(name, value)
    assert caught.value.field == f"--{name}"
    assert words in str(caught.value)


def test_not_that_has_nothing_to_reverse() -> None:
    filters = Filters()
    filters.negate()
    with pytest.raises(FieldError, match="twice in a row"):
        filters.negate()
    with pytest.raises(FieldError, match="is the last filter flag"):
        filters.lists()


def test_every_field_of_the_api_has_a_flag() -> None:
    fields = {field for field, _ in PLAIN.values()}
    fields |= {
        f"{side}_{field}" for field, _ in SIDED.values() for side in ("source", "destination")
    }
    without = {"reply", "encrypted", "dns_query", "ip_trace_id", "experimental"}
    assert fields | without == {field.name for field in FlowFilter.DESCRIPTOR.fields}
    assert set(NAMESPACES) == {"namespace", "from-namespace", "to-namespace"}


@pytest.mark.parametrize(
    ("argv", "number", "first"),
    [
        ([], 20, False),
        (["--last", "5"], 5, False),
        (["--first", "5"], 5, True),
        (["--all"], (1 << 64) - 1, False),
        (["-f"], 0, False),
        (["-f", "--last", "3"], 3, False),
        (["--since", "5m"], 0, False),
        (["--until", "5m"], 0, False),
        (["--since", "5m", "--last", "9"], 9, False),
        (["flows", "--last", "5"], 5, False),
    ],
)
def test_how_many(argv: list[str], number: int, first: bool) -> None:
    made = observe.request(parsed(*argv), NOW)
    assert (made.number, made.first, made.follow) == (number, first, "-f" in argv)
    assert made.HasField("since") is ("--since" in argv)
    assert made.HasField("until") is ("--until" in argv)
    if "--since" in argv:
        assert made.since.ToNanoseconds() == NOW - 300 * 10**9


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--first", "1", "--last", "1"], "--first: cannot be combined with --last"),
        (["--first", "1", "--all"], "--first: cannot be combined with --all"),
        (["--first", "1", "-f"], "--first: cannot be combined with --follow"),
        (["--last", "1", "--all"], "--last: cannot be combined with --all"),
        (["-f", "-o", "table"], "--output: table is not compatible with --follow"),
        (["-f", "--until", "1m"], "--until: cannot be combined with --follow"),
        (["--since", "noon"], "--since: 'noon' is neither"),
        (["--allowlist", "{"], "--allowlist: "),
        (["--denylist", '{"shoe": 1}'], "--denylist: .*shoe"),
        (["--not"], "--not: is the last filter flag"),
    ],
)
def test_requests_that_do_not_go(argv: list[str], words: str) -> None:
    with pytest.raises(FieldError, match=words):
        observe.request(parsed(*argv), NOW)


def test_raw_filters_come_after_the_flags() -> None:
    made = observe.request(
        parsed(
            "--allowlist",
            '{"verdict":["DROPPED"]}',
            "--from-pod",
            "a",
            "--denylist",
            '{"source_pod":["b/"]}',
        ),
        NOW,
    )
    assert list(made.whitelist) == [FlowFilter(source_pod=["a"]), FlowFilter(verdict=[2])]
    assert list(made.blacklist) == [FlowFilter(source_pod=["b/"])]
