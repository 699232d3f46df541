# SPDX-License-Identifier: Apache-2.0
"""Turns Envoy's log messages into records, each request and response once. Event loop only.

Long requests have an entry while they are open; what was told of them then is not told again at
their end. The memory of those is bounded: at worst a request is shown twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from envoy.data.accesslog.v3 import accesslog_pb2 as log
from envoy.service.accesslog.v3 import als_pb2

from cilium_core.proto import access_pb2
from cilium_proxy.access.records import Writer

MOST_OPEN = 1 << 16
_Key = tuple[str, int, int, int, str]


class Reader:
    """Knows which open requests were told already."""

    def __init__(self, writer: Writer) -> None:
        """Make records with this writer."""
        self._writer = writer
        self._told: OrderedDict[_Key, None] = OrderedDict()

    def read(self, message: als_pb2.StreamAccessLogsMessage) -> Iterator[access_pb2.Record]:
        """Yield the records of a message."""
        for entry in message.http_logs.log_entry:
            yield from self._request(entry)
        for connection in message.tcp_logs.log_entry:
            if self._first(connection.common_properties):
                yield self._writer.connection(connection)

    def _request(self, entry: log.HTTPAccessLogEntry) -> Iterator[access_pb2.Record]:
        common = entry.common_properties
        key = _key(common, entry.request.request_id)
        ended = common.access_log_type == log.DownstreamEnd
        begun = self._writer.begin(entry)
        if key not in self._told:
            yield self._writer.request(entry, begun)
        if not ended:
            self._tell(key)
            return
        self._told.pop(key, None)
        response = self._writer.response(entry, begun)
        if response is not None:
            yield response

    def _first(self, common: log.AccessLogCommon) -> bool:
        """Say whether this is a connection's first entry."""
        key = _key(common, "")
        if common.access_log_type == log.TcpConnectionEnd:
            told = key in self._told
            self._told.pop(key, None)
            return not told
        self._tell(key)
        return True

    def _tell(self, key: _Key) -> None:
        self._told[key] = None
        if len(self._told) > MOST_OPEN:
            self._told.popitem(last=False)


def _key(common: log.AccessLogCommon, request_id: str) -> _Key:
    source = common.downstream_direct_remote_address.socket_address
    start = common.start_time
    return source.address, source.port_value, start.seconds, start.nanos, request_id
