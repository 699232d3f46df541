# SPDX-License-Identifier: Apache-2.0
"""Kernel events as upstream's monitor prints them: a line, a block, or JSON. Pure.

`flow` is a number made of addresses, ports and protocol, so that lines of one connection's
direction share it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cilium_core.addresses import unpack_address
from cilium_core.identity import Reserved
from cilium_core.layouts.events import EventFlag, EventType, ObservationPoint
from cilium_hubble.flows import summary, words
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.monitor.request import Request, destinations

SEPARATOR = "-" * 78
SOURCE_FILE = "bpf"  # the line is of one of its files; events do not say which
_INGRESS = 1
_TRANSPORTS = {summary.TCP: "tcp", summary.UDP: "udp", summary.SCTP: "sctp"}
_SHOWN_FLAGS = 0x02 | 0x10 | 0x04 | 0x01
_RESERVED = {int(member): member.label for member in Reserved}
_TRACE = {
    ObservationPoint.TO_ENDPOINT: "-> endpoint {to}",
    ObservationPoint.TO_PROXY: "-> proxy",
    ObservationPoint.TO_HOST: "-> host from",
    ObservationPoint.TO_STACK: "-> stack",
    ObservationPoint.TO_OVERLAY: "-> overlay",
    ObservationPoint.TO_NETWORK: "-> network",
    ObservationPoint.FROM_ENDPOINT: "<- endpoint {seen}",
    ObservationPoint.FROM_PROXY: "<- proxy",
    ObservationPoint.FROM_HOST: "<- host",
    ObservationPoint.FROM_STACK: "<- stack",
    ObservationPoint.FROM_OVERLAY: "<- overlay",
    ObservationPoint.FROM_NETWORK: "<- network",
}

Event = dict[str, Any]


class Formatter:
    """Formats events for one client."""

    def __init__(self, request: Request, link: Callable[[int], str]) -> None:
        """`link` gives an interface's name, empty for an unknown one."""
        self._request = request
        self._link = link

    def choose(self, events: Rows) -> Rows:
        """Return the events of a batch that are asked for."""
        chosen: Rows = events[self._request.choose(events)]
        return chosen

    def lines(self, chosen: Rows) -> Iterator[str]:
        """Yield the text of each event, without its last line end."""
        targets = destinations(chosen).tolist()
        for row, target in zip(chosen, targets, strict=True):
            event: Event = {name: _plain(row[name]) for name in chosen.dtype.names or ()}
            event["to"] = target
            yield self._one(event)

    def lost(self, cpu: int, count: int) -> str:
        """Return the line on events that the ring could not take."""
        if self._request.format == "json":
            return json.dumps({"type": "lost", "cpu": cpu, "count": count})
        return f"CPU {cpu:02d}: Lost {count} events"

    def _one(self, event: Event) -> str:
        if self._request.format == "json":
            return json.dumps(self._fields(event), separators=(",", ":"))
        info, verbose = {
            EventType.DROP: (self._drop, self._drop_block),
            EventType.TRACE: (self._trace, self._trace_block),
            EventType.POLICY_VERDICT: (self._verdict, self._verdict),
        }[event["type"]]
        if self._request.format == "info":
            return info(event)
        return f"{SEPARATOR}\n{verbose(event)}"

    def _drop(self, event: Event) -> str:
        return (
            f"xx drop ({words.drop_reason(event['subtype'])}) flow {flow_mark(event):#x}"
            f" to endpoint {event['to']}, ifindex {event['ifindex']},"
            f" file {SOURCE_FILE}:{event['line']}, , identity {self._identities(event)}:"
            f" {connection(event)}"
        )

    def _trace(self, event: Event) -> str:
        return (
            f"{trace_summary(event)} flow {flow_mark(event):#x} , identity"
            f" {self._identities(event)} state {words.state(event['state'])}"
            f" ifindex {self._name(event)} orig-ip {_unspecified(event)}: {connection(event)}"
        )

    def _verdict(self, event: Event) -> str:
        ingress = event["direction"] == _INGRESS
        remote = event["source_identity"] if ingress else event["destination_identity"]
        return (
            f"Policy verdict log: flow {flow_mark(event):#x} local EP ID {event['endpoint_id']},"
            f" remote ID {self._identity(remote)}, proto {event['proto']},"
            f" {'ingress' if ingress else 'egress'}, action {action(event)}, auth: disabled,"
            f" match {words.match(event['match'])}, {connection(event)}"
        )

    def _drop_block(self, event: Event) -> str:
        head = (
            f"MARK {flow_mark(event):#x} FROM {event['endpoint_id']} DROP: {event['length']} bytes,"
            f" reason {words.drop_reason(event['subtype'])}"
        )
        return f"{head}{self._tail(event)}\n{connection(event)}"

    def _trace_block(self, event: Event) -> str:
        head = (
            f"MARK {flow_mark(event):#x} FROM {event['endpoint_id']}"
            f" {words.observation_point(event['subtype'])}: {event['length']} bytes,"
            f" state {words.state(event['state'])}"
        )
        if event["ifindex"]:
            head += f", interface {self._name(event)}"
        return f"{head}{self._tail(event)}\n{connection(event)}"

    def _tail(self, event: Event) -> str:
        text = ""
        if event["source_identity"] or event["destination_identity"]:
            text += f", identity {self._identities(event)}"
        return f"{text}, to endpoint {event['to']}" if event["to"] else text

    def _fields(self, event: Event) -> dict[str, Any]:
        kind = next(name for name, code in words.EVENT_TYPES.items() if code == event["type"])
        fields: dict[str, Any] = {"type": kind, "mark": f"{flow_mark(event):#x}"}
        if event["type"] == EventType.DROP:
            fields["reason"] = words.drop_reason(event["subtype"])
            fields |= {"Line": event["line"], "Ifindex": event["ifindex"]}
        elif event["type"] == EventType.TRACE:
            fields |= {
                "ifindex": self._name(event),
                "state": words.state(event["state"]),
                "observationPoint": words.observation_point(event["subtype"]),
                "traceSummary": trace_summary(event),
            }
        else:
            direction = "ingress" if event["direction"] == _INGRESS else "egress"
            fields |= {"direction": direction, "action": action(event)}
            fields["match"] = words.match(event["match"])
        return fields | {
            "source": event["endpoint_id"],
            "bytes": event["length"],
            "srcLabel": event["source_identity"],
            "dstLabel": event["destination_identity"],
            "dstID": event["to"],
            "summary": layers(event),
        }

    def _identities(self, event: Event) -> str:
        return (
            f"{self._identity(event['source_identity'])}"
            f"->{self._identity(event['destination_identity'])}"
        )

    def _identity(self, number: int) -> str:
        return str(number) if self._request.numeric else _RESERVED.get(number, str(number))

    def _name(self, event: Event) -> str:
        return self._link(event["ifindex"]) or str(event["ifindex"])


def _plain(value: Any) -> Any:
    return value.tobytes() if getattr(value, "shape", ()) else int(value)


def flow_mark(event: Event) -> int:
    """Return the number of a flow's direction, 32 bits."""
    ports = event["sport"] << 24 | event["dport"] << 8 | event["proto"]
    return zlib.crc32(event["source"] + event["destination"] + ports.to_bytes(5, "big"))


def trace_summary(event: Event) -> str:
    """Return the arrow and the place of a trace event."""
    text = _TRACE.get(event["subtype"], "unknown trace")
    return text.format(to=event["to"] or event["endpoint_id"], seen=event["endpoint_id"])


def action(event: Event) -> str:
    """Return what a verdict said."""
    if event["flags"] & EventFlag.AUDIT:
        return "audit"
    return "deny" if event["subtype"] else "allow"


def connection(event: Event) -> str:
    """Return `1.1.1.1:2000 -> 2.2.2.2:80 tcp SYN`, or what there is of it."""
    source, destination = (str(unpack_address(event[end])) for end in ("source", "destination"))
    protocol = event["proto"]
    if protocol in (summary.ICMP, summary.ICMPV6):
        ipv6 = protocol == summary.ICMPV6
        words_of = summary.icmp(event["icmp_type"], event["icmp_code"], ipv6=ipv6)
        return f"{source} -> {destination} {words_of}"
    name = _TRANSPORTS.get(protocol)
    if name is None:
        return f"{source} -> {destination}"
    text = f"{_joined(source, event['sport'])} -> {_joined(destination, event['dport'])} {name}"
    if protocol != summary.TCP:
        return text
    return f"{text} {summary.tcp_flags(event['tcp_flags'] & _SHOWN_FLAGS)}"


def layers(event: Event) -> dict[str, dict[str, str]]:
    """Return the ends of each layer, as upstream's JSON has them."""
    source, destination = (str(unpack_address(event[end])) for end in ("source", "destination"))
    found = {"l3": {"src": source, "dst": destination}}
    if event["proto"] in _TRANSPORTS:
        found["l4"] = {"src": str(event["sport"]), "dst": str(event["dport"])}
    return found


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unspecified(event: Event) -> str:
    return "::" if event["flags"] & EventFlag.IPV6 else "0.0.0.0"
