# SPDX-License-Identifier: Apache-2.0
"""The words of one flow: hosts, identities, type, verdict, summary. Pure.

Text from the network is made harmless for a terminal before colours go around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cilium_core.identity import Reserved
from cilium_core.proto import flow_pb2
from cilium_core.proto.flow_pb2 import Endpoint, Flow, Service
from cilium_hubble.cli.printing.colors import Colors
from cilium_hubble.flows import words

_RESERVED = {int(member): member.label for member in Reserved}
_L7, _CAPTURE, _SOCK = 129, 3, 7
_ALLOWED = (flow_pb2.FORWARDED, flow_pb2.REDIRECTED)
_DENIED = (flow_pb2.DROPPED, flow_pb2.ERROR)
_XLATE = {
    flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_FWD: "pre-xlate-fwd",
    flow_pb2.SOCK_XLATE_POINT_POST_DIRECTION_FWD: "post-xlate-fwd",
    flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_REV: "pre-xlate-rev",
    flow_pb2.SOCK_XLATE_POINT_POST_DIRECTION_REV: "post-xlate-rev",
}
_SPECIAL = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t"}
_HARMLESS = {code: _SPECIAL.get(code, f"^{chr(code ^ 0x40)}") for code in [*range(32), 0x7F]}


def harmless(text: str) -> str:
    """Return a text with control characters made visible: ESC is `^[`."""
    return text.translate(_HARMLESS)


def hosts(flow: Flow, colors: Colors, *, translate: bool) -> tuple[str, str]:
    """Return the ends as `host:port`: pod, else service, else names, else address; MACs without IP.

    Without `translate` always the address.
    """
    if not flow.HasField("IP"):
        ends = flow.ethernet.source, flow.ethernet.destination
        source, destination = (colors.host(harmless(mac)) if mac else "" for mac in ends)
        return source, destination
    ports = _ports(flow)
    sides = (
        (flow.IP.source, flow.source, flow.source_service, flow.source_names),
        (flow.IP.destination, flow.destination, flow.destination_service, flow.destination_names),
    )
    source, destination = (
        colors.host(
            _joined(
                _host(*side) if translate else harmless(side[0]), colors.port(port) if port else ""
            )
        )
        for side, port in zip(sides, ports, strict=True)
    )
    return source, destination


def _host(address: str, endpoint: Endpoint, service: Service, names: Sequence[str]) -> str:
    if endpoint.pod_name:
        parts = endpoint.namespace, endpoint.pod_name
    elif service.name:
        parts = service.namespace, service.name
    else:
        return harmless(",".join(names) or address)
    return harmless("/".join(part for part in parts if part))


def _ports(flow: Flow) -> tuple[int, int]:
    kind = flow.l4.WhichOneof("protocol")
    if kind not in ("TCP", "UDP", "SCTP"):
        return 0, 0
    layer = getattr(flow.l4, kind)
    return layer.source_port, layer.destination_port


def _joined(host: str, port: str) -> str:
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def identities(flow: Flow, colors: Colors) -> tuple[str, str]:
    """Return `(name)` for reserved identities, else `(ID:n)`, of both ends."""
    source, destination = (
        colors.identity(f"({_RESERVED[n]})" if n in _RESERVED else f"(ID:{n})")
        for n in (flow.source.identity, flow.destination.identity)
    )
    return source, destination


def flow_type(flow: Flow) -> str:
    """Return what kind of event it was: `to-endpoint`, `Policy denied`, `http-request` …"""
    if flow.HasField("l7"):
        return _l7_type(flow)
    subtype = flow.event_type.sub_type
    match flow.event_type.type:
        case 4:
            return words.observation_point(subtype)
        case 1:
            return words.drop_reason(subtype)
        case 5:
            direction = flow_pb2.TrafficDirection.Name(flow.traffic_direction)
            return f"policy-verdict:{words.match(flow.policy_match_type)} {direction}"
        case 3:
            return flow_pb2.DebugCapturePoint.Name(flow.debug_capture_point)
        case 7:
            point = flow.sock_xlate_point
            return _XLATE.get(point) or flow_pb2.SocketTranslationPoint.Name(point)
    return "UNKNOWN"


def _l7_type(flow: Flow) -> str:
    kind = flow_pb2.L7FlowType.Name(flow.l7.type).lower()
    record = flow.l7.WhichOneof("record") or "l7"
    if record == "dns":
        kind = f"{kind} {harmless(flow.l7.dns.observation_source)}"
    return f"{record}-{kind}"


def verdict(flow: Flow, colors: Colors, *, policies: bool = False) -> str:
    """Return the verdict's word; with `policies` followed by ` BY name (Kind), …`."""
    judged = flow.event_type.type == words.EVENT_TYPES["policy-verdict"]
    name = flow_pb2.Verdict.Name(flow.verdict)
    if flow.verdict in _ALLOWED:
        text = colors.forwarded("ALLOWED" if judged else name)
    elif flow.verdict in _DENIED:
        text = colors.dropped("DENIED" if judged else name)
    elif flow.verdict == flow_pb2.AUDIT:
        text = colors.noted("AUDITED" if judged else name)
    elif flow.verdict in (flow_pb2.TRACED, flow_pb2.TRANSLATED):
        text = colors.noted(name)
    else:
        text = name
    return text + _by(flow) if policies else text


def _by(flow: Flow) -> str:
    lists = (
        flow.ingress_allowed_by,
        flow.ingress_denied_by,
        flow.egress_allowed_by,
        flow.egress_denied_by,
    )
    named = [harmless(f"{policy.name} ({policy.kind})") for found in lists for policy in found]
    return f" BY {', '.join(named)}" if named else ""


def summary(flow: Flow, colors: Colors) -> str:
    """Return the line on the packet or request, with trace id and authentication."""
    text = harmless(flow.Summary)
    if flow.ip_trace_id.trace_id:
        text = f"IP Trace ID: {flow.ip_trace_id.trace_id}; {text}"
    if flow.auth_type == flow_pb2.DISABLED:
        return text
    name = flow_pb2.AuthType.Name(flow.auth_type)
    failing = flow.auth_type == flow_pb2.TEST_ALWAYS_FAIL
    return f"{text}; Auth: {colors.dropped(name) if failing else colors.forwarded(name)}"
