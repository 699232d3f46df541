# SPDX-License-Identifier: Apache-2.0
"""What a FlowFilter means, said slowly about one flow.Flow at a time."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from cilium_core.proto import flow_pb2
from cilium_core.proto.flow_pb2 import Flow, FlowFilter


def passes(flow: Flow, whitelist: Iterable[FlowFilter], blacklist: Iterable[FlowFilter]) -> bool:
    """Tell whether a flow is shown."""
    wanted = list(whitelist)
    return (not wanted or any(holds(flow, item) for item in wanted)) and not any(
        holds(flow, item) for item in blacklist
    )


def holds(flow: Flow, item: FlowFilter) -> bool:
    """Tell whether all fields of a filter hold."""
    return all(
        any(_value(flow, descriptor.name, value) for value in values)
        for descriptor, values in item.ListFields()
    )


def _value(flow: Flow, name: str, value: object) -> bool:  # noqa: C901
    side, _, rest = name.partition("_")
    if side in ("source", "destination"):
        return _side(flow, side, rest, value)
    match name:
        case "verdict":
            return flow.verdict == value
        case "traffic_direction":
            return flow.traffic_direction == value
        case "drop_reason_desc":
            return flow.drop_reason_desc == value
        case "reply":
            if not flow.HasField("is_reply") and flow.verdict != flow_pb2.DROPPED:
                return False
            return flow.is_reply.value == value
        case "ip_version":
            return flow.IP.ipVersion == value
        case "uuid":
            return flow.uuid == value
        case "encrypted":
            return flow.IP.encrypted == value
        case "protocol":
            kind = flow.l4.WhichOneof("protocol") or ""
            return kind.lower().startswith(str(value).lower())
        case "node_name":
            cluster, _, node = str(value).rpartition("/")
            patterns = (cluster or "*", node or "*")
            parts = flow.node_name.split("/")
            return all(fnmatch.fnmatch(*pair) for pair in zip(parts, patterns, strict=True))
        case "node_labels":
            return _selected(list(flow.node_labels), str(value), source="")
    assert isinstance(
        value, flow_pb2.EventTypeFilter | flow_pb2.TCPFlags | flow_pb2.NetworkInterface
    )
    if isinstance(value, flow_pb2.EventTypeFilter):
        kind_fits = not value.type or flow.event_type.type == value.type
        return kind_fits and (
            not value.match_sub_type or flow.event_type.sub_type == value.sub_type
        )
    if isinstance(value, flow_pb2.TCPFlags):
        flags = flow.l4.TCP.flags
        return flow.l4.HasField("TCP") and all(
            getattr(flags, d.name) for d, _ in value.ListFields()
        )
    held = flow.interface
    return bool(held.index) and value.index in (0, held.index) and value.name in ("", held.name)


def _side(flow: Flow, side: str, rest: str, value: object) -> bool:
    who: flow_pb2.Endpoint = getattr(flow, side)
    match rest:
        case "ip":
            address, network = ip_address(getattr(flow.IP, side)), ip_network(str(value))
            return address.version == network.version and address in network
        case "identity":
            return who.identity == value
        case "cluster_name":
            return fnmatch.fnmatch(who.cluster_name, str(value))
        case "pod":
            return _named(who.namespace, who.pod_name, str(value))
        case "service":
            service: flow_pb2.Service = getattr(flow, f"{side}_service")
            return _named(service.namespace, service.name, str(value))
        case "label":
            return _selected(list(who.labels), str(value), source="k8s:")
        case "workload":
            assert isinstance(value, flow_pb2.Workload)
            return any(
                value.name in ("", held.name) and value.kind in ("", held.kind)
                for held in who.workloads
            )
        case "port":
            kind = flow.l4.WhichOneof("protocol")
            if kind not in ("TCP", "UDP", "SCTP"):
                return False
            return getattr(getattr(flow.l4, kind), f"{side}_port") == int(str(value))
    raise AssertionError(rest)


def _named(namespace: str, name: str, wanted: str) -> bool:
    if not namespace and not name:
        return False
    if "/" not in wanted:
        wanted = "default/" + wanted
    head, prefix = wanted.split("/")
    return head in ("", namespace) and name.startswith(prefix)


def _selected(labels: list[str], selector: str, source: str) -> bool:
    """The few forms that the tests draw: `key`, `!key`, `key=value`, `key!=value`, with `,`."""
    for term in selector.split(","):
        key, equals, value = term.lstrip("!").replace("!=", "~").replace("~", "=", 1).partition("=")
        key = key.removeprefix("any:")
        heads = (key,) if ":" in key else (source + key, "reserved:" + key)
        exists = any(label.split("=")[0] in heads for label in labels)
        equal = any(
            label in [f"{head}={value}" if value else head for head in heads] for label in labels
        )
        if term.startswith("!"):
            holds = not exists
        elif "!=" in term:
            holds = not equal
        else:
            holds = equal if equals else exists
        if not holds:
            return False
    return True
