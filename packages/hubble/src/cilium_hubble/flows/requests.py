# SPDX-License-Identifier: Apache-2.0
"""From proxies' records to rows: ends, verdict, what it was; the text goes to the payloads. Pure.

A record has the ends of the connection; a flow goes the way of its message, so an answer's ends
change places, as upstream's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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
_V6 = int(EventFlag.IPV6)
_REPLIES = {flow_pb2.REQUEST: Reply.NO, flow_pb2.RESPONSE: Reply.YES}
_packed = lru_cache(maxsize=1 << 14)(pack_address)


def rows_of(records: Sequence[Record], payloads: Payloads) -> tuple[Rows, list[Record]]:
    """Return the rows of the records that can be told, without names, and those records."""
    good = [record for record in records if _usable(record)]
    rows = np.zeros(len(good), STORED)
    if not good:
        return rows, good
    kinds = [record.l7.type for record in good]
    answers = np.array([kind == flow_pb2.RESPONSE for kind in kinds])
    _fill_ends(rows, good, answers)
    rows["time"], rows["type"] = [record.time_ns for record in good], REQUEST
    rows["subtype"] = [
        _APPLICATIONS.get(record.l7.WhichOneof("record") or "", Application.OTHER)
        for record in good
    ]
    rows["state"], rows["verdict"] = kinds, [record.verdict for record in good]
    rows["proto"] = [record.protocol for record in good]
    rows["direction"] = [record.direction for record in good]
    rows["proxy_port"] = [record.proxy_port for record in good]
    rows["flags"] = [_V6 if ":" in record.source else 0 for record in good]
    rows["reply"] = [_REPLIES.get(kind, Reply.UNKNOWN) for kind in kinds]
    rows["payload"] = [payloads.add(_text(record)) for record in good]
    return rows, good


def text_of(payload: bytes | None) -> Record:
    """Return what was kept of a record; an empty one when that is gone."""
    return Record.FromString(payload) if payload is not None else Record()


@lru_cache(maxsize=4096)
def origins_of(texts: tuple[str, ...]) -> tuple[Origin, ...]:
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
        _packed(record.source)
        _packed(record.destination)
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


def _fill_ends(rows: Rows, records: Sequence[Record], answers: NDArray[np.bool_]) -> None:
    sources, destinations = (
        np.frombuffer(b"".join(packed), "u1").reshape(-1, 16)
        for packed in zip(
            *((_packed(record.source), _packed(record.destination)) for record in records),
            strict=True,
        )
    )
    sports = np.array([record.source_port for record in records])
    dports = np.array([record.destination_port for record in records])
    turned = answers[:, None]
    rows["source"] = np.where(turned, destinations, sources)
    rows["destination"] = np.where(turned, sources, destinations)
    rows["sport"] = np.where(answers, dports, sports)
    rows["dport"] = np.where(answers, sports, dports)


def _text(record: Record) -> bytes:
    """Return what is kept of a record: all of it, which costs less than to leave anything out."""
    raw = record.SerializeToString()
    if len(raw) > LONGEST:
        kept = Record(l7=record.l7, request_id=record.request_id, trace_id=record.trace_id)
        kept.l7.http.ClearField("headers")
        raw = kept.SerializeToString()
    return raw if len(raw) <= LONGEST else b""
