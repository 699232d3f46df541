# SPDX-License-Identifier: Apache-2.0
"""Counters over columns: what packets and verdicts tell. Event loop only; scrapes read copies.

A batch is masked and its distinct combinations of columns are counted; text is made of those only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, Metric

from cilium_core.layouts.events import EventFlag, EventType
from cilium_core.proto import flow_pb2
from cilium_hubble.flowmetrics.context import Context
from cilium_hubble.flowmetrics.options import Asked
from cilium_hubble.flows import summary
from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.record import LOST, REQUEST, Application, Reply, Verdict
from cilium_hubble.flows.words import match, observation_point
from cilium_hubble.kernel.dtypes import Rows

Mask = NDArray[np.bool_]
Labels = Callable[[np.void], Iterator[tuple[str, ...]]]

TYPES = {
    EventType.DROP: "Drop",
    EventType.TRACE: "Trace",
    EventType.POLICY_VERDICT: "PolicyVerdict",
    REQUEST: "L7",
}
APPLICATIONS = {
    Application.DNS: "DNS",
    Application.HTTP: "HTTP",
    Application.KAFKA: "Kafka",
}
PROTOCOLS = {
    summary.TCP: "TCP",
    summary.UDP: "UDP",
    summary.SCTP: "SCTP",
    summary.ICMP: "ICMPv4",
    summary.ICMPV6: "ICMPv6",
    summary.IGMP: "IGMP",
    summary.VRRP: "VRRP",
}
_PORTS = (summary.TCP, summary.UDP, summary.SCTP)
_ICMP = (summary.ICMP, summary.ICMPV6)
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_POLICY_DENIED = 133
_WORLD = "reserved:world"


class Kind(NamedTuple):
    """A counter: which rows count, the columns and the labels that are made of them."""

    metric: str
    text: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    counted: Callable[[Rows], Mask]
    told: Labels


class Counted:
    """One counter."""

    def __init__(self, kind: Kind, context: Context, names: Names, *, first: bool = False) -> None:
        """`first` has the labels of the options before the counter's own."""
        self._kind = kind
        self._context = context
        self._names = names
        self._first = first
        self._columns = tuple(dict.fromkeys((*kind.columns, *context.columns)))
        self.counts: Counter[tuple[str, ...]] = Counter()

    def add(self, rows: Rows) -> None:
        """Count a batch of stored rows."""
        rows = rows[self._kind.counted(rows)]
        if not len(rows):
            return
        for row, count in distinct(rows, self._columns):
            more = self._context.values(row, self._names)
            for own in self._kind.told(row):
                self.counts[(*more, *own) if self._first else (*own, *more)] += count

    def collect(self) -> Metric:
        """Return the family as it is now."""
        own, more = self._kind.labels, self._context.names
        labels = (*more, *own) if self._first else (*own, *more)
        family = CounterMetricFamily(self._kind.metric, self._kind.text, labels=labels)
        for values, count in list(self.counts.items()):
            family.add_metric(values, count)
        return family


def distinct(rows: Rows, columns: tuple[str, ...]) -> Iterator[tuple[np.void, int]]:
    """Yield one row of each combination of columns, and how many there are."""
    count = len(rows)
    parts = [np.ascontiguousarray(rows[name]).view("u1").reshape(count, -1) for name in columns]
    joined = np.ascontiguousarray(np.concatenate(parts, axis=1))
    keys: list[bytes] = joined.view(f"V{joined.shape[1]}").ravel().tolist()
    places = dict(zip(keys, range(count), strict=True))
    for key, number in Counter(keys).items():
        yield rows[places[key]], number


def subtype(kind: int, code: int) -> str:
    """Return a flow's subtype in upstream's words."""
    if kind == REQUEST:
        return APPLICATIONS.get(Application(code), "")
    return observation_point(code) if kind == EventType.TRACE else ""


def protocol(row: np.void) -> str:
    """Return a flow's protocol: of requests the application's."""
    if row["type"] == REQUEST and (found := subtype(REQUEST, int(row["subtype"]))):
        return found
    return PROTOCOLS.get(int(row["proto"]), "Unknown protocol")


def counter(asked: Asked, names: Names) -> Counted:
    """Return the counter of a metric that is none of requests."""
    kinds: dict[str, Callable[[Asked, Names], Kind]] = {
        "flow": lambda _asked, _names: _FLOW,
        "drop": lambda _asked, _names: _DROP,
        "tcp": lambda _asked, _names: _TCP,
        "icmp": lambda _asked, _names: _ICMP_KIND,
        "port-distribution": lambda _asked, _names: _PORT,
        "policy": lambda _asked, _names: _POLICY,
        "flows-to-world": _to_world,
    }
    return Counted(kinds[asked.name](asked, names), Context(asked), names)


def _flow_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    kind, verdict = int(row["type"]), Verdict(int(row["verdict"])).name
    yield protocol(row), TYPES[kind], subtype(kind, int(row["subtype"])), verdict


def _drop_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    yield _reason(int(row["subtype"]) if row["type"] != REQUEST else 0), protocol(row)


def _reason(code: int) -> str:
    known = flow_pb2.DropReason.values()
    return flow_pb2.DropReason.Name(code) if code in known else str(code)


def _tcp_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    flags, family = int(row["tcp_flags"]), _family(row)
    if flags & _FIN:
        yield "FIN", family
    if flags & _SYN:
        yield "SYN-ACK" if flags & _ACK else "SYN", family
    if flags & _RST:
        yield "RST", family


def _family(row: np.void) -> str:
    return "IPv6" if row["flags"] & int(EventFlag.IPV6) else "IPv4"


def _icmp_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    ipv6 = int(row["proto"]) == summary.ICMPV6
    words = summary.icmp(int(row["icmp_type"]), int(row["icmp_code"]), ipv6=ipv6)
    yield _family(row), words


def _port_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    ports = int(row["proto"]) in _PORTS
    yield PROTOCOLS[int(row["proto"])], str(int(row["dport"]) if ports else 0)


def _policy_labels(row: np.void) -> Iterator[tuple[str, ...]]:
    action = {Verdict.DROPPED: "dropped", Verdict.AUDIT: "audit"}
    direction = {1: "ingress", 2: "egress"}.get(int(row["direction"]), "unknown")
    if row["type"] == REQUEST:
        how = "l7/" + subtype(REQUEST, int(row["subtype"])).lower()
    else:
        how = match(int(row["match"])).lower()
    told = Verdict(int(row["verdict"]))
    yield (
        direction,
        how,
        action.get(told, "redirected" if told == Verdict.REDIRECTED else "forwarded"),
    )


def _forwarded(rows: Rows) -> Mask:
    through: Mask = (rows["verdict"] == Verdict.FORWARDED) & (rows["type"] != LOST)
    return through


def _tcp_counted(rows: Rows) -> Mask:
    packets = (rows["proto"] == summary.TCP) & (rows["type"] != REQUEST)
    told: Mask = packets & ((rows["tcp_flags"] & (_FIN | _SYN | _RST)) != 0)
    return _forwarded(rows) & told


def _port_counted(rows: Rows) -> Mask:
    redirected: Mask = rows["verdict"] == Verdict.REDIRECTED
    first: Mask = (rows["reply"] == Reply.NO) & np.isin(rows["proto"], list(PROTOCOLS))
    return (_forwarded(rows) | redirected) & first


_FLOW = Kind(
    "hubble_flows_processed",
    "Flows processed",
    ("protocol", "type", "subtype", "verdict"),
    ("type", "subtype", "verdict", "proto"),
    lambda rows: rows["type"] != LOST,
    _flow_labels,
)
_DROP = Kind(
    "hubble_drop",
    "Flows dropped",
    ("reason", "protocol"),
    ("type", "subtype", "proto"),
    lambda rows: (rows["verdict"] == Verdict.DROPPED) & (rows["type"] != LOST),
    _drop_labels,
)
_TCP = Kind(
    "hubble_tcp_flags",
    "TCP flags seen",
    ("flag", "family"),
    ("tcp_flags", "flags"),
    _tcp_counted,
    _tcp_labels,
)
_ICMP_KIND = Kind(
    "hubble_icmp",
    "ICMP messages",
    ("family", "type"),
    ("proto", "flags", "icmp_type", "icmp_code"),
    lambda rows: _forwarded(rows) & np.isin(rows["proto"], _ICMP),
    _icmp_labels,
)
_PORT = Kind(
    "hubble_port_distribution",
    "Flows by destination port",
    ("protocol", "port"),
    ("proto", "dport"),
    _port_counted,
    _port_labels,
)
_POLICY = Kind(
    "hubble_policy_verdicts",
    "Policy verdicts",
    ("direction", "match", "action"),
    ("type", "subtype", "direction", "match", "verdict"),
    lambda rows: (
        (rows["type"] == EventType.POLICY_VERDICT)
        | ((rows["type"] == REQUEST) & (rows["reply"] != Reply.YES))
    ),
    _policy_labels,
)


def _to_world(asked: Asked, names: Names) -> Kind:
    with_port = "port" in asked.flags

    def counted(rows: Rows) -> Mask:
        numbers, places = np.unique(rows["destination_party"], return_inverse=True)
        world = np.array(
            [_WORLD in names.parties[number].labels for number in numbers.tolist()], bool
        )
        mask: Any = world[places] & (rows["type"] != LOST)
        dropped, answers = rows["verdict"] == Verdict.DROPPED, rows["reply"] == Reply.YES
        if "any-drop" not in asked.flags:
            mask &= ~dropped | (rows["subtype"] == _POLICY_DENIED)
        mask &= dropped | ~answers
        if "syn-only" in asked.flags:
            packets = (rows["proto"] == summary.TCP) & (rows["type"] != REQUEST)
            mask &= packets & ((rows["tcp_flags"] & _SYN) != 0) & ~answers
        return mask  # type: ignore[no-any-return]

    def told(row: np.void) -> Iterator[tuple[str, ...]]:
        port = str(int(row["dport"])) if int(row["proto"]) in _PORTS else ""
        more = (port,) if with_port else ()
        yield protocol(row), Verdict(int(row["verdict"])).name, *more

    return Kind(
        "hubble_flows_to_world",
        "Flows to the world outside",
        ("protocol", "verdict", "port") if with_port else ("protocol", "verdict"),
        ("type", "subtype", "proto", "verdict", *(("dport",) if with_port else ())),
        counted,
        told,
    )
