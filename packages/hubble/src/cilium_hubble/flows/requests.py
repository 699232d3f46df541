# SPDX-License-Identifier: Apache-2.0
"""From proxies' records to rows: ends, verdict, what it was; the text goes to the payloads. Pure.

A record has the ends of the connection; a flow goes the way of its message, so an answer's ends
change places, as upstream's do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cilium_core.addresses import pack_address
from cilium_core.layouts.events import EventFlag
from cilium_core.proto import flow_pb2
from cilium_core.proto.access_pb2 import Record
from cilium_hubble.flows.payloads import Payloads
from cilium_hubble.flows.record import REQUEST, STORED, Application, Reply, Verdict
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.model import Origin

LONGEST = 16 << 10  # of one text; what is longer loses its headers
_APPLICATIONS = {
    "dns": Application.DNS,
    "http": Application.HTTP,
    "kafka": Application.KAFKA,
}
_VERDICTS = {int(verdict) for verdict in Verdict}
_PROTOCOLS = (6, 17)
_DIRECTIONS = (1, 2)


def rows_of(records: Sequence[Record], payloads: Payloads) -> tuple[Rows, list[Record]]:
    """Return the rows of the records that can be told, without names, and those records."""
    good = [record for record in records if _usable(record)]
    rows = np.zeros(len(good), STORED)
    for row, record in zip(rows, good, strict=True):
        _fill(row, record, payloads)
    return rows, good


def text_of(payload: bytes | None) -> Record:
    """Return what was kept of a record; an empty one when that is gone."""
    return Record.FromString(payload) if payload is not None else Record()


def origins_of(texts: Sequence[str]) -> tuple[Origin, ...]:
    """Return the rules behind `Kind namespace/name field` texts; what is none is left out."""
    found = []
    for text in texts:
        kind, _, rest = text.partition(" ")
        name, _, field = rest.partition(" ")
        if kind and name:
            namespace, _, own = name.rpartition("/")
            found.append(Origin(kind, namespace, own, field))
    return tuple(found)


def _usable(record: Record) -> bool:
    try:
        pack_address(record.source)
        pack_address(record.destination)
    except ValueError:
        return False
    ports = max(record.source_port, record.destination_port, record.proxy_port)
    return (
        0 < record.time_ns < 1 << 63
        and ports < 65536
        and record.protocol in _PROTOCOLS
        and record.direction in _DIRECTIONS
        and record.verdict in _VERDICTS
    )


def _fill(row: np.void, record: Record, payloads: Payloads) -> None:
    ends = [
        (np.frombuffer(pack_address(record.source), "u1"), record.source_port),
        (np.frombuffer(pack_address(record.destination), "u1"), record.destination_port),
    ]
    kind = record.l7.type
    if kind == flow_pb2.RESPONSE:
        ends.reverse()
    (row["source"], row["sport"]), (row["destination"], row["dport"]) = ends
    row["time"], row["type"] = record.time_ns, REQUEST
    row["subtype"] = _APPLICATIONS.get(record.l7.WhichOneof("record") or "", Application.OTHER)
    row["state"], row["verdict"], row["proto"] = kind, record.verdict, record.protocol
    row["direction"], row["proxy_port"] = record.direction, record.proxy_port
    row["flags"] = int(EventFlag.IPV6) if ":" in record.source else 0
    known = {flow_pb2.REQUEST: Reply.NO, flow_pb2.RESPONSE: Reply.YES}
    row["reply"] = known.get(kind, Reply.UNKNOWN)
    row["payload"] = payloads.add(_text(record))


def _text(record: Record) -> bytes:
    kept = Record(l7=record.l7, request_id=record.request_id, trace_id=record.trace_id)
    raw = kept.SerializeToString()
    if len(raw) > LONGEST:
        kept.l7.http.ClearField("headers")
        raw = kept.SerializeToString()
    return raw if len(raw) <= LONGEST else Record().SerializeToString()
