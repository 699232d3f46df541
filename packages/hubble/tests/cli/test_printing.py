# SPDX-License-Identifier: Apache-2.0
"""What is printed, character by character, against the lines of the wire notes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, Int32Value

from cilium_core.proto import flow_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_core.proto.observer_pb2 import GetFlowsResponse
from cilium_hubble.cli.printing.colors import wanted
from cilium_hubble.cli.printing.printer import Options, Printer
from cilium_hubble.cli.printing.tables import table
from cilium_hubble.cli.printing.text import flow_type, harmless

TIME = Timestamp(seconds=1234, nanos=567800000)


def flow(**fields: Any) -> pb.Flow:
    """The flow of the golden lines, with some fields replaced (None: left out)."""
    base: dict[str, Any] = {
        "time": TIME,
        "Type": pb.L3_L4,
        "node_name": "k8s1",
        "verdict": pb.DROPPED,
        "IP": pb.IP(source="1.1.1.1", destination="2.2.2.2"),
        "source": pb.Endpoint(identity=4),
        "destination": pb.Endpoint(identity=12345),
        "l4": pb.Layer4(TCP=pb.TCP(source_port=31793, destination_port=8080)),
        "event_type": pb.CiliumEventType(type=1, sub_type=133),
        "Summary": "TCP Flags: SYN",
        "is_reply": BoolValue(value=False),
    }
    return pb.Flow(**{k: v for k, v in {**base, **fields}.items() if v is not None})


def printed(*flows: pb.Flow, **options: Any) -> str:
    out = io.StringIO()
    printer = Printer(Options(**{"color": "never", **options}), out, io.StringIO())
    for item in flows:
        printer.print(GetFlowsResponse(flow=item))
    printer.close()
    return out.getvalue()


VERDICT = {"event_type": pb.CiliumEventType(type=5), "is_reply": None}


@pytest.mark.parametrize(
    ("made", "options", "line"),
    [
        (
            flow(),
            {},
            "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) -> 2.2.2.2:8080 (ID:12345)"
            " Policy denied DROPPED (TCP Flags: SYN)",
        ),
        (
            flow(is_reply=BoolValue(value=True)),
            {"node_name": True},
            "Jan  1 00:20:34.567 [k8s1]: 2.2.2.2:8080 (ID:12345) <- 1.1.1.1:31793 (health)"
            " Policy denied DROPPED (TCP Flags: SYN)",
        ),
        (
            flow(is_reply=None),
            {"node_name": True},
            "Jan  1 00:20:34.567 [k8s1]: 1.1.1.1:31793 (health) <> 2.2.2.2:8080 (ID:12345)"
            " Policy denied DROPPED (TCP Flags: SYN)",
        ),
        (
            flow(**VERDICT, traffic_direction=pb.EGRESS),
            {"node_name": True},
            "Jan  1 00:20:34.567 [k8s1]: 1.1.1.1:31793 (health) <> 2.2.2.2:8080 (ID:12345)"
            " policy-verdict:none EGRESS DENIED (TCP Flags: SYN)",
        ),
        (
            flow(
                time=Timestamp(seconds=1598717409, nanos=388000000),
                verdict=pb.FORWARDED,
                event_type=pb.CiliumEventType(type=5),
                traffic_direction=pb.INGRESS,
                policy_match_type=2,
                source=pb.Endpoint(identity=12885, namespace="test", pod_name="test-client"),
                destination=pb.Endpoint(
                    identity=5128, namespace="kube-system", pod_name="coredns-7"
                ),
                l4=pb.Layer4(UDP=pb.UDP(source_port=56810, destination_port=53)),
                Summary="UDP",
            ),
            {},
            "Aug 29 16:10:09.388: test/test-client:56810 (ID:12885) -> kube-system/coredns-7:53"
            " (ID:5128) policy-verdict:L3-L4 INGRESS ALLOWED (UDP)",
        ),
        (
            flow(
                **VERDICT,
                verdict=pb.AUDIT,
                ingress_allowed_by=[
                    pb.Policy(name="a", namespace="ns", kind="CiliumNetworkPolicy"),
                    pb.Policy(name="b", kind="NetworkPolicy"),
                ],
            ),
            {"policy_names": True},
            "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) <> 2.2.2.2:8080 (ID:12345)"
            " policy-verdict:none TRAFFIC_DIRECTION_UNKNOWN AUDITED BY a (CiliumNetworkPolicy),"
            " b (NetworkPolicy) (TCP Flags: SYN)",
        ),
        (
            flow(**VERDICT, verdict=pb.REDIRECTED, traffic_direction=pb.INGRESS),
            {},
            "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) <> 2.2.2.2:8080 (ID:12345)"
            " policy-verdict:none INGRESS ALLOWED (TCP Flags: SYN)",
        ),
        (
            flow(
                verdict=pb.FORWARDED,
                event_type=pb.CiliumEventType(type=4, sub_type=3),
                ip_trace_id=pb.IPTraceID(trace_id=7),
                auth_type=pb.SPIRE,
                destination=pb.Endpoint(identity=10),
                destination_service=pb.Service(namespace="ns", name="svc"),
                source_names=["a.io", "b.io"],
            ),
            {},
            "Jan  1 00:20:34.567: a.io,b.io:31793 (health) -> ns/svc:8080 (world-ipv6) to-stack"
            " FORWARDED (IP Trace ID: 7; TCP Flags: SYN; Auth: SPIRE)",
        ),
        (
            flow(
                IP=pb.IP(source="fd00::1", destination="fd00::2"),
                source=pb.Endpoint(identity=4, namespace="ns", pod_name="pod"),
            ),
            {"translate": False, "time_format": "RFC3339Nano"},
            "1970-01-01T00:20:34.5678Z: [fd00::1]:31793 (health) -> [fd00::2]:8080 (ID:12345)"
            " Policy denied DROPPED (TCP Flags: SYN)",
        ),
        (
            flow(IP=None, l4=None, ethernet=pb.Ethernet(source="0:1", destination="6:7")),
            {},
            "Jan  1 00:20:34.567: 0:1 (health) -> 6:7 (ID:12345) Policy denied DROPPED"
            " (TCP Flags: SYN)",
        ),
        (
            flow(l4=pb.Layer4(ICMPv4=pb.ICMPv4(type=8)), time=Timestamp(seconds=-1, nanos=-1)),
            {},
            "N/A: 1.1.1.1 (health) -> 2.2.2.2 (ID:12345) Policy denied DROPPED (TCP Flags: SYN)",
        ),
        (
            flow(Summary="evil\x1b[30m\r\nline\x07"),
            {},
            "Jan  1 00:20:34.567: 1.1.1.1:31793 (health) -> 2.2.2.2:8080 (ID:12345)"
            " Policy denied DROPPED (evil^[[30m\\r\\nline^G)",
        ),
        (
            flow(),
            {"color": "always"},
            "Jan  1 00:20:34.567: \x1b[36m1.1.1.1:\x1b[33m31793\x1b[0m\x1b[0m \x1b[35m(health)"
            "\x1b[0m -> \x1b[36m2.2.2.2:\x1b[33m8080\x1b[0m\x1b[0m \x1b[35m(ID:12345)\x1b[0m"
            " Policy denied \x1b[31mDROPPED\x1b[0m (TCP Flags: SYN)",
        ),
    ],
)
def test_compact(made: pb.Flow, options: dict[str, Any], line: str) -> None:
    assert printed(made, **options) == line + "\n"


def test_dict() -> None:
    block = (
        "  TIMESTAMP: Jan  1 00:20:34.567\n"
        "       NODE: k8s1\n"
        "     SOURCE: 1.1.1.1:31793\n"
        "DESTINATION: 2.2.2.2:8080\n"
        "       TYPE: Policy denied\n"
        "    VERDICT: DROPPED\n"
        "    SUMMARY: TCP Flags: SYN\n"
    )
    assert printed(flow(), output="dict", node_name=True) == block
    plain = block.replace("       NODE: k8s1\n", "")
    assert printed(flow(), flow(), output="dict") == f"{plain}------------\n{plain}"


def test_table() -> None:
    assert printed(flow(), output="table") == (
        "TIMESTAMP             SOURCE          DESTINATION    TYPE            VERDICT   SUMMARY\n"
        "Jan  1 00:20:34.567   1.1.1.1:31793   2.2.2.2:8080   Policy denied   DROPPED"
        "   TCP Flags: SYN\n"
    )
    assert printed(flow(), output="table", node_name=True, color="always") == (
        "TIMESTAMP             NODE   SOURCE          DESTINATION    TYPE            VERDICT"
        "   SUMMARY\n"
        "Jan  1 00:20:34.567   k8s1   1.1.1.1:31793   2.2.2.2:8080   Policy denied   DROPPED"
        "   TCP Flags: SYN\n"
    )
    assert printed(output="table") == ""
    assert table([["a", ""], ["long", "x"]]) == "a      \nlong   x\n"


@pytest.mark.parametrize("output", ["json", "jsonpb"])
def test_json_is_a_line_in_the_order_of_the_api(output: str) -> None:
    made = flow(uuid="u-1", l7=pb.Layer7(type=pb.REQUEST, latency_ns=10))
    out = io.StringIO()
    printer = Printer(Options(output=output), out, io.StringIO())
    printer.print(GetFlowsResponse(flow=made, node_name="k8s1", time=TIME))
    assert out.getvalue() == (
        '{"flow":{"time":"1970-01-01T00:20:34.567800Z","uuid":"u-1","verdict":"DROPPED",'
        '"IP":{"source":"1.1.1.1","destination":"2.2.2.2"},'
        '"l4":{"TCP":{"source_port":31793,"destination_port":8080}},'
        '"source":{"identity":4},"destination":{"identity":12345},"Type":"L3_L4",'
        '"node_name":"k8s1","l7":{"type":"REQUEST","latency_ns":"10"},'
        '"event_type":{"type":1,"sub_type":133},"is_reply":false,"Summary":"TCP Flags: SYN"},'
        '"node_name":"k8s1","time":"1970-01-01T00:20:34.567800Z"}\n'
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"l7": pb.Layer7(type=pb.REQUEST)}, "l7-request"),
        ({"l7": pb.Layer7(type=pb.RESPONSE, http=pb.HTTP())}, "http-response"),
        ({"l7": pb.Layer7(type=pb.REQUEST, kafka=pb.Kafka())}, "kafka-request"),
        (
            {"l7": pb.Layer7(type=pb.RESPONSE, dns=pb.DNS(observation_source="proxy"))},
            "dns-response proxy",
        ),
        ({"event_type": pb.CiliumEventType(type=4, sub_type=2)}, "to-host"),
        ({"event_type": pb.CiliumEventType(type=4)}, "to-endpoint"),
        ({"event_type": pb.CiliumEventType(type=4, sub_type=123)}, "123"),
        ({"event_type": pb.CiliumEventType(type=1, sub_type=181)}, "Policy denied by denylist"),
        (
            {
                "event_type": pb.CiliumEventType(type=3),
                "debug_capture_point": pb.DBG_CAPTURE_FROM_LB,
            },
            "DBG_CAPTURE_FROM_LB",
        ),
        (
            {
                "event_type": pb.CiliumEventType(type=7),
                "sock_xlate_point": pb.SOCK_XLATE_POINT_POST_DIRECTION_FWD,
            },
            "post-xlate-fwd",
        ),
        ({"event_type": None}, "UNKNOWN"),
    ],
)
def test_types(fields: dict[str, Any], text: str) -> None:
    assert flow_type(flow(**fields)) == text


def errors(*responses: GetFlowsResponse, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(Options(**options), out, err)
    for response in responses:
        printer.print(response)
    return out.getvalue(), err.getvalue()


LOST = GetFlowsResponse(
    lost_events=pb.LostEvent(
        source=pb.HUBBLE_RING_BUFFER, num_events_lost=1, cpu=Int32Value(value=0)
    )
)


def test_lost_events() -> None:
    assert errors(LOST) == ("", "EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 1\n")
    out, err = errors(LOST, output="json")
    assert json.loads(out)["lost_events"]["num_events_lost"] == "1"
    assert err == ""


def node_status(state: Any, *names: str, message: str = "") -> GetFlowsResponse:
    status = relay_pb2.NodeStatusEvent(state_change=state, node_names=names, message=message)
    return GetFlowsResponse(node_status=status, node_name="relay", time=TIME)


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (node_status(1, "a", "b"), "Receiving flows from 2 nodes: a, b"),
        (node_status(2, *(f"node-number-{n}" for n in range(9))), None),
        (node_status(3, "a"), "1 nodes removed from cluster: a"),
        (node_status(4, "a", message='so "bad"'), 'Error "so \\"bad\\"" on 1 nodes: a'),
        (node_status(0, "a"), 'unknown node status event: {"node_names":["a"]}'),
    ],
)
def test_node_status(response: GetFlowsResponse, line: str | None) -> None:
    line = line or (
        "9 nodes are unavailable: node-number-0, node-number-1, node-number-2 (and 6 more)"
    )
    assert errors(response, debug=True) == ("", f"Jan  1 00:20:34.567 [relay]: {line}\n")
    quiet = response.node_status.state_change not in (2, 4)
    assert (errors(response) == ("", "")) is quiet
    assert json.loads(errors(response, debug=True, output="json")[1])["node_name"] == "relay"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert [wanted("auto", Terminal()), wanted("auto", io.StringIO())] == [True, False]
    assert [wanted("never", Terminal()), wanted("always", io.StringIO())] == [False, True]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wanted("auto", Terminal())
    assert harmless("plain – text") == "plain – text"
