# SPDX-License-Identifier: Apache-2.0
"""Fields of a FlowFilter about the packet and the event itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cilium_core.errors import FieldError
from cilium_core.layouts.events import EventFlag, EventType
from cilium_core.proto import flow_pb2
from cilium_hubble.filters.checks import Check, column_in, constant
from cilium_hubble.filters.requests import is_request
from cilium_hubble.flows import summary
from cilium_hubble.flows.chunk import Chunk, Mask, Names
from cilium_hubble.flows.record import REQUEST, Application, Reply, Verdict

_PROTOCOLS = {
    "tcp": (summary.TCP,),
    "udp": (summary.UDP,),
    "sctp": (summary.SCTP,),
    "icmp": (summary.ICMP, summary.ICMPV6),
    "icmpv4": (summary.ICMP,),
    "icmpv6": (summary.ICMPV6,),
    "igmp": (summary.IGMP,),
    "vrrp": (summary.VRRP,),
}
_APPLICATIONS = {
    "dns": Application.DNS,
    "http": Application.HTTP,
    "kafka": Application.KAFKA,
}
_WITH_PORTS = (summary.TCP, summary.UDP, summary.SCTP)


def _protocols(values: Sequence[str], path: str, _names: Names) -> Check:
    numbers: list[int] = []
    applications = []
    for index, text in enumerate(values):
        word = text.lower()
        if word in _APPLICATIONS:
            applications.append(_APPLICATIONS[word])
        elif word in _PROTOCOLS:
            numbers += _PROTOCOLS[word]
        else:
            known = ", ".join([*_PROTOCOLS, *_APPLICATIONS])
            raise FieldError(f"{path}[{index}]", f"{text!r} is not one of {known}")
    carried = column_in("proto", numbers)

    def check(chunk: Chunk) -> Mask:
        mask = carried(chunk)
        for application in applications:
            mask |= is_request(chunk, application)
        return mask

    return check


def _ports(column: str) -> Callable[[Sequence[str], str, Names], Check]:
    def field(values: Sequence[str], path: str, _names: Names) -> Check:
        ports = []
        for index, text in enumerate(values):
            if not text.isdecimal() or int(text) > 65535:
                raise FieldError(f"{path}[{index}]", f"{text!r} is not a port number")
            ports.append(int(text))
        ours, carried = column_in(column, ports), column_in("proto", _WITH_PORTS)
        return lambda chunk: ours(chunk) & carried(chunk)

    return field


def shown_subtypes(chunk: Chunk) -> Any:
    """Return the subtypes as flows carry them: policy verdicts and requests have none."""
    none = np.isin(chunk.rows["type"], (int(EventType.POLICY_VERDICT), REQUEST))
    return np.where(none, 0, chunk.rows["subtype"])


def _event_types(values: Iterable[flow_pb2.EventTypeFilter], _path: str, _names: Names) -> Check:
    wanted = [(item.type, item.sub_type if item.match_sub_type else None) for item in values]

    def check(chunk: Chunk) -> Mask:
        mask = np.zeros(len(chunk), bool)
        subtypes = shown_subtypes(chunk)
        for kind, subtype in wanted:
            found = np.ones(len(chunk), bool) if not kind else chunk.rows["type"] == kind
            mask |= found if subtype is None else found & (subtypes == subtype)
        return mask

    return check


def _drop_reasons(values: Iterable[int], _path: str, _names: Names) -> Check:
    wanted = list(values)

    def check(chunk: Chunk) -> Mask:
        rows = chunk.rows
        dropped = (rows["verdict"] == Verdict.DROPPED) & (rows["type"] != REQUEST)
        mask: Mask = np.isin(np.where(dropped, chunk.rows["subtype"], 0), wanted)
        return mask

    return check


def _replies(values: Iterable[bool], _path: str, _names: Names) -> Check:
    """Of drops it is not known; they count as no reply, as upstream's clients expect."""
    wanted = set(values)

    def check(chunk: Chunk) -> Mask:
        replies, rows = chunk.rows["reply"], chunk.rows
        mask = np.zeros(len(chunk), bool)
        if True in wanted:
            mask |= replies == Reply.YES
        if False in wanted:
            unknown = (replies == Reply.UNKNOWN) & (rows["verdict"] == Verdict.DROPPED)
            mask |= (replies == Reply.NO) | unknown
        return mask

    return check


def _tcp_flags(values: Iterable[flow_pb2.TCPFlags], path: str, _names: Names) -> Check:
    wanted = []
    for index, item in enumerate(values):
        if item.NS:
            raise FieldError(f"{path}[{index}].NS", "is not supported: it is not recorded")
        wanted.append(sum(bit for name, bit in summary.TCP_FLAGS if getattr(item, name)))

    def check(chunk: Chunk) -> Mask:
        mask = np.zeros(len(chunk), bool)
        for bits in wanted:
            mask |= (chunk.rows["tcp_flags"] & bits) == bits
        rows = chunk.rows
        mask &= (rows["proto"] == summary.TCP) & (rows["type"] != REQUEST)
        return mask

    return check


def _ip_versions(values: Iterable[int], _path: str, _names: Names) -> Check:
    wanted = set(values)

    def check(chunk: Chunk) -> Mask:
        ipv6 = (chunk.rows["flags"] & int(EventFlag.IPV6)) != 0
        return np.where(ipv6, flow_pb2.IPv6 in wanted, flow_pb2.IPv4 in wanted)

    return check


def _interfaces(values: Any, path: str, names: Names) -> Check:
    wanted = [(item.index, item.name) for item in values]
    for index, (number, name) in enumerate(wanted):
        if not number and not name:
            raise FieldError(f"{path}[{index}]", "has neither a name nor an index")

    def check(chunk: Chunk) -> Mask:
        numbers, places = np.unique(chunk.rows["ifindex"], return_inverse=True)
        found = [
            bool(number)
            and any(i in (0, number) and n in ("", names.link(number)) for i, n in wanted)
            for number in numbers.tolist()
        ]
        mask: Mask = np.array(found, bool)[places]
        return mask

    return check


def _encrypted(values: Iterable[bool], _path: str, _names: Names) -> Check:
    plain = False in set(values)  # nothing is encrypted by this version
    return constant(lambda: plain)


FIELDS: dict[str, Callable[[Any, str, Names], Check]] = {
    "protocol": _protocols,
    "source_port": _ports("sport"),
    "destination_port": _ports("dport"),
    "event_type": _event_types,
    "drop_reason_desc": _drop_reasons,
    "reply": _replies,
    "tcp_flags": _tcp_flags,
    "ip_version": _ip_versions,
    "interface": _interfaces,
    "encrypted": _encrypted,
}
