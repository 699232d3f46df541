# SPDX-License-Identifier: Apache-2.0
"""Makes flow.Flow messages of stored rows: only when a subscriber asks. Event loop only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, Int32Value

from cilium_core.addresses import unpack_address
from cilium_core.layouts.events import EventFlag, EventType
from cilium_core.proto import flow_pb2
from cilium_core.proto.observer_pb2 import GetFlowsResponse
from cilium_hubble.flows import requesttext, summary
from cilium_hubble.flows.chunk import Chunk, Names
from cilium_hubble.flows.record import LOST, REQUEST, Reply, Verdict
from cilium_hubble.flows.requests import text_of
from cilium_hubble.flows.words import TO_ENDPOINT_IN_FLOWS
from cilium_hubble.state.model import Origin, Party, ServiceName
from cilium_hubble.version import VERSION

_EMITTER = flow_pb2.Emitter(name="Hubble", version=VERSION)
_SOURCE_FILE = "bpf"  # the line is of one of its files; events do not say which
_WITH_PORTS = {summary.TCP: "TCP", summary.UDP: "UDP", summary.SCTP: "SCTP"}
_INGRESS, _EGRESS = 1, 2
_NANO = 1_000_000_000

Row = dict[str, Any]


class FlowBuilder:
    """Turns chunks into responses, in order."""

    def __init__(self, names: Names) -> None:
        """Read names as they are when a chunk is turned."""
        self._names = names

    def responses(self, chunk: Chunk) -> Iterator[GetFlowsResponse]:
        """Yield one response a row; rows of lost events become LostEvents."""
        names = chunk.rows.dtype.names or ()
        columns = [chunk.rows[name].tolist() for name in names if name not in _ADDRESSES]
        plain = [name for name in names if name not in _ADDRESSES]
        ends = [[raw.tobytes() for raw in chunk.rows[name]] for name in _ADDRESSES]
        node = self._names.node()
        for sequence, *values, source, destination in zip(
            chunk.sequences.tolist(), *columns, *ends, strict=True
        ):
            row: Row = dict(zip(plain, values, strict=True))
            response = GetFlowsResponse(node_name=node.full_name, time=timestamp(row["time"]))
            if row["type"] == LOST:
                response.lost_events.CopyFrom(_lost(row))
            else:
                row["source"], row["destination"] = source, destination
                self._fill(response.flow, row, sequence)
                response.flow.node_name = node.full_name
                response.flow.node_labels.extend(node.labels)
            yield response

    def _fill(self, flow: flow_pb2.Flow, row: Row, sequence: int) -> None:
        names, kind = self._names, row["type"]
        ipv6 = bool(row["flags"] & EventFlag.IPV6)
        flow.time.CopyFrom(timestamp(row["time"]))
        flow.uuid = names.ids.of(sequence)
        flow.emitter.CopyFrom(_EMITTER)
        flow.verdict = row["verdict"]
        flow.IP.source = address_text(row["source"])
        flow.IP.destination = address_text(row["destination"])
        flow.IP.ipVersion = flow_pb2.IPv6 if ipv6 else flow_pb2.IPv4
        _fill_layer4(flow.l4, row)
        flow.source.CopyFrom(endpoint(names.parties[row["source_party"]]))
        flow.destination.CopyFrom(endpoint(names.parties[row["destination_party"]]))
        flow.Type = flow_pb2.L7 if kind == REQUEST else flow_pb2.L3_L4
        flow.event_type.type = kind
        flow.traffic_direction = row["direction"]
        if row["source_service"]:
            flow.source_service.CopyFrom(_service(names.services[row["source_service"]]))
        if row["destination_service"]:
            flow.destination_service.CopyFrom(_service(names.services[row["destination_service"]]))
        flow.source_names.extend(names.fqdns[row["source_names"]])
        flow.destination_names.extend(names.fqdns[row["destination_names"]])
        if row["reply"] != Reply.UNKNOWN:
            flow.is_reply.CopyFrom(BoolValue(value=row["reply"] == Reply.YES))
            flow.reply = row["reply"] == Reply.YES
        _fill_rules(flow, row, names.origins[row["rules"]])
        if kind == REQUEST:
            self._fill_request(flow, row)
            return
        if kind == EventType.TRACE:
            flow.event_type.sub_type = row["subtype"]
            point: Any = row["subtype"] or TO_ENDPOINT_IN_FLOWS
            flow.trace_observation_point = point
            flow.trace_reason = row["state"]
        elif kind == EventType.DROP:
            flow.event_type.sub_type = row["subtype"]
            if row["line"]:
                flow.file.CopyFrom(flow_pb2.FileInfo(name=_SOURCE_FILE, line=row["line"]))
        else:
            flow.policy_match_type = row["match"]
        if row["verdict"] == Verdict.DROPPED:
            flow.drop_reason = flow.drop_reason_desc = row["subtype"]
        if row["ifindex"]:
            flow.interface.index = row["ifindex"]
            flow.interface.name = names.link(row["ifindex"])
        flow.Summary = summary.summary(
            row["proto"], row["tcp_flags"], row["icmp_type"], row["icmp_code"], ipv6=ipv6
        )

    def _fill_request(self, flow: flow_pb2.Flow, row: Row) -> None:
        kept = text_of(self._names.payloads.get(row["payload"]))
        flow.l7.CopyFrom(kept.l7)
        flow.l7.type = row["state"]
        flow.proxy_port = row["proxy_port"]
        if kept.trace_id:
            flow.trace_context.parent.trace_id = kept.trace_id
        flow.Summary = requesttext.summary(flow.l7)


_ADDRESSES = ("source", "destination")


def timestamp(time: int) -> Timestamp:
    """Return a time in ns since the epoch as a message."""
    return Timestamp(seconds=time // _NANO, nanos=time % _NANO)


@lru_cache(8192)
def address_text(raw: bytes) -> str:
    """Return 16 address bytes as text."""
    return str(unpack_address(raw))


@lru_cache(4096)
def endpoint(party: Party) -> flow_pb2.Endpoint:
    """Return a party as a message, shared: copy it."""
    return flow_pb2.Endpoint(
        ID=party.endpoint_id,
        identity=party.identity,
        cluster_name=party.cluster,
        namespace=party.namespace,
        labels=party.labels,
        pod_name=party.pod,
        workloads=[flow_pb2.Workload(name=party.workload.name, kind=party.workload.kind)]
        if party.workload is not None
        else [],
    )


def _service(name: ServiceName) -> flow_pb2.Service:
    return flow_pb2.Service(name=name.name, namespace=name.namespace)


def _fill_layer4(layer: flow_pb2.Layer4, row: Row) -> None:
    protocol = row["proto"]
    name = _WITH_PORTS.get(protocol)
    if name is not None:
        ports = getattr(layer, name)
        ports.source_port, ports.destination_port = row["sport"], row["dport"]
        if protocol == summary.TCP and row["type"] != REQUEST:
            for flag, bit in summary.TCP_FLAGS:
                if row["tcp_flags"] & bit:
                    setattr(ports.flags, flag, True)
            ports.flags.SetInParent()
    elif protocol in (summary.ICMP, summary.ICMPV6):
        message = layer.ICMPv4 if protocol == summary.ICMP else layer.ICMPv6
        message.type, message.code = row["icmp_type"], row["icmp_code"]
        message.SetInParent()
    elif protocol == summary.VRRP:
        layer.VRRP.SetInParent()
    elif protocol == summary.IGMP:
        layer.IGMP.SetInParent()


def _fill_rules(flow: flow_pb2.Flow, row: Row, origins: tuple[Origin, ...]) -> None:
    denied = row["verdict"] == Verdict.DROPPED
    if row["direction"] == _INGRESS:
        named = flow.ingress_denied_by if denied else flow.ingress_allowed_by
    elif row["direction"] == _EGRESS:
        named = flow.egress_denied_by if denied else flow.egress_allowed_by
    else:
        return
    for origin in dict.fromkeys(origin._replace(field="") for origin in origins):
        named.add(
            name=origin.name,
            namespace=origin.namespace,
            kind=origin.kind,
            revision=row["revision"],
        )


def _lost(row: Row) -> flow_pb2.LostEvent:
    return flow_pb2.LostEvent(
        source=row["subtype"],
        num_events_lost=row["tx_packets"],
        cpu=Int32Value(value=row["endpoint_id"]),
        first=timestamp(row["until"]),
        last=timestamp(row["time"]),
    )
