# SPDX-License-Identifier: Apache-2.0
"""One entry of Envoy's access log as the records that hubble shows. Pure.

As upstream: a request that passes has a record, its response another one with code and latency;
one that policy refuses has its request only, dropped. Latency is the time to the response's first
byte, as the client sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from envoy.data.accesslog.v3 import accesslog_pb2 as log

from cilium_core.proto import access_pb2, flow_pb2
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.redact import Redaction
from cilium_proxy.translate import naming

TCP = 6
_NANOSECONDS = 1_000_000_000
_PROTOCOLS = {
    log.HTTPAccessLogEntry.HTTP10: "HTTP/1",
    log.HTTPAccessLogEntry.HTTP11: "HTTP/1.1",
    log.HTTPAccessLogEntry.HTTP2: "HTTP/2",
}
Find = Callable[[int], pb.RuleSet | None]


class Writer:
    """Makes records; `find` knows the rule set of a port."""

    def __init__(self, find: Find, redaction: Redaction) -> None:
        """Redact with these settings."""
        self._find = find
        self._redaction = redaction
        self._templates: dict[int, tuple[pb.RuleSet | None, access_pb2.Record]] = {}

    def begin(self, entry: log.HTTPAccessLogEntry) -> access_pb2.Record:
        """Return what the records of a request and of its response have in common."""
        record = self._record(entry.common_properties)
        request, http = entry.request, record.l7.http
        http.protocol = _PROTOCOLS.get(entry.protocol_version, "Unknown")
        http.method = entry.common_properties.custom_tags.get(naming.METHOD_TAG, "")
        path = request.path.removeprefix("/")
        url = f"{request.scheme or 'http'}://{request.authority}/{path}"
        http.url = self._redaction.url(url)
        record.request_id = request.request_id
        record.trace_id = trace_id(request.request_headers.get("traceparent", ""))
        record.verdict = _verdict(entry)
        return record

    def request(self, entry: log.HTTPAccessLogEntry, begun: access_pb2.Record) -> access_pb2.Record:
        """Return the record of a request; `begun` stays as it is."""
        record = access_pb2.Record()
        record.CopyFrom(begun)
        record.l7.type = flow_pb2.REQUEST
        self._headers(record, _request_headers(entry.request))
        return record

    def response(
        self, entry: log.HTTPAccessLogEntry, begun: access_pb2.Record
    ) -> access_pb2.Record | None:
        """Return the record of the response, None when policy refused or nothing was answered.

        `begun` becomes the record.
        """
        code = entry.response.response_code.value
        if not code or begun.verdict != flow_pb2.FORWARDED:
            return None
        common = entry.common_properties
        first_byte = _nanoseconds(common.time_to_first_downstream_tx_byte)
        latency = first_byte or _nanoseconds(common.duration)
        begun.time_ns += latency
        begun.l7.type, begun.l7.latency_ns = flow_pb2.RESPONSE, latency
        begun.l7.http.code = code
        headers = dict(entry.response.response_headers)
        if entry.request.request_id:
            headers["x-request-id"] = entry.request.request_id
        self._headers(begun, headers)
        return begun

    def connection(self, entry: log.TCPAccessLogEntry) -> access_pb2.Record:
        """Return the record of a TLS connection that was let through or refused by its name.

        Upstream has none. It is shown as a request without a method: `TLS  https://name`.
        """
        common = entry.common_properties
        record = self._record(common)
        refused = _chain(common).endswith(f"/{naming.REFUSED}")
        record.verdict = flow_pb2.DROPPED if refused else flow_pb2.FORWARDED
        record.l7.type = flow_pb2.REQUEST
        name = common.custom_tags.get(naming.SNI_TAG, "").removeprefix("-")
        record.l7.http.protocol = "TLS" if name else "TCP"
        record.l7.http.url = f"https://{name}" if name else ""
        return record

    def _record(self, common: log.AccessLogCommon) -> access_pb2.Record:
        record = access_pb2.Record()
        record.CopyFrom(self._template(naming.port_of(_chain(common))))
        source = common.downstream_direct_remote_address.socket_address
        destination = common.downstream_local_address.socket_address
        start = common.start_time
        record.time_ns = start.seconds * _NANOSECONDS + start.nanos
        record.source, record.source_port = source.address, source.port_value
        record.destination = destination.address
        record.destination_port = destination.port_value
        return record

    def _template(self, port: int) -> access_pb2.Record:
        """Return what all records of a rule set have in common, made anew when it changes."""
        rule_set = self._find(port)
        known = self._templates.get(port)
        if known is not None and known[0] is rule_set:
            return known[1]
        found = rule_set or pb.RuleSet()
        made = access_pb2.Record(
            direction=found.direction, proxy_port=port, origins=found.origins, protocol=TCP
        )
        self._templates[port] = (rule_set, made)
        return made

    def _headers(self, record: access_pb2.Record, headers: Mapping[str, str]) -> None:
        add, redacted = record.l7.http.headers.add, self._redaction.header
        for name in sorted(headers):
            add(key=_canonical(name), value=redacted(name, headers[name]))


def trace_id(traceparent: str) -> str:
    """Return the trace's id of a W3C header, empty when it is not one."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


def _verdict(entry: log.HTTPAccessLogEntry) -> flow_pb2.Verdict:
    route = entry.common_properties.route_name
    if route == naming.DENIED:
        return flow_pb2.DROPPED
    # Without a route Envoy itself found fault with the request.
    return flow_pb2.FORWARDED if route == naming.ALLOWED else flow_pb2.ERROR


def _chain(common: log.AccessLogCommon) -> str:
    return str(common.custom_tags.get(naming.CHAIN_TAG, ""))


def _request_headers(request: log.HTTPRequestProperties) -> Mapping[str, str]:
    own = {
        "user-agent": request.user_agent,
        "referer": request.referer,
        "x-forwarded-for": request.forwarded_for,
        "x-request-id": request.request_id,
    }
    return {**request.request_headers, **{name: value for name, value in own.items() if value}}


@lru_cache(maxsize=1024)
def _canonical(name: str) -> str:
    """Return a header's name as upstream shows it: `X-Request-Id`."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _nanoseconds(duration: object) -> int:
    return int(duration.ToNanoseconds())  # type: ignore[attr-defined]
