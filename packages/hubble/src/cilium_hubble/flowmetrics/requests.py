# SPDX-License-Identifier: Apache-2.0
"""Counters of requests and responses: their texts are read, one at a time.

Event loop only; scrapes read copies. Answers have their ends changed: labels of `httpV2` name the
client as source.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from cilium_core.proto import flow_pb2
from cilium_hubble.flowmetrics.context import Context
from cilium_hubble.flowmetrics.options import Asked
from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.record import REQUEST, Application, Verdict
from cilium_hubble.flows.requests import text_of
from cilium_hubble.flows.requesttext import rcode_name
from cilium_hubble.kernel.dtypes import Rows

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # s, upstream's
_REPORTERS = {1: "server", 2: "client"}
_NANO = 1e9

Values = tuple[str, ...]


class _Durations:
    """A histogram by labels."""

    def __init__(self) -> None:
        self._counts: defaultdict[Values, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._sums: Counter[Values] = Counter()

    def add(self, values: Values, seconds: float) -> None:
        self._counts[values][bisect_left(BUCKETS, seconds)] += 1
        self._sums[values] += seconds  # type: ignore[assignment]

    def collect(self, name: str, text: str, labels: Values) -> Metric:
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, counts in list(self._counts.items()):
            upto = np.cumsum(counts).tolist()
            bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
            family.add_metric(values, list(zip(bounds, upto, strict=True)), self._sums[values])
        return family


class Http:
    """`http` and `httpV2`."""

    def __init__(self, asked: Asked, names: Names) -> None:
        """Count as the options say."""
        self._second = asked.name == "httpV2"
        self._context = Context(asked)
        self._names = names
        self._requests: Counter[Values] = Counter()
        self._responses: Counter[Values] = Counter()
        self._durations = _Durations()

    def add(self, rows: Rows) -> None:
        """Count a batch of stored rows."""
        for row, l7 in _texts(rows, Application.HTTP, self._names):
            http = l7.http
            more = self._context.values(row, self._names, inverted=self._second)
            reporter = _REPORTERS.get(int(row["direction"]), "unknown")
            answered = l7.type == flow_pb2.RESPONSE
            if answered:
                status = str(http.code)
                timed = (http.method, reporter, *more)
                self._durations.add(timed, l7.latency_ns / _NANO)
                if self._second:
                    values = (http.method, http.protocol, status, reporter, *more)
                    self._requests[values] += 1
                else:
                    values = (http.method, http.protocol, status, reporter, *more)
                    self._responses[values] += 1
            elif l7.type == flow_pb2.REQUEST and not self._second:
                self._requests[http.method, http.protocol, reporter, *more] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the families as they are now."""
        more = self._context.names
        whole = ("method", "protocol", "status", "reporter", *more)
        asked = whole if self._second else ("method", "protocol", "reporter", *more)
        yield _counter("hubble_http_requests", "HTTP requests", asked, self._requests)
        if not self._second:
            yield _counter("hubble_http_responses", "HTTP responses", whole, self._responses)
        yield self._durations.collect(
            "hubble_http_request_duration_seconds",
            "How long HTTP requests took",
            ("method", "reporter", *more),
        )


class Dns:
    """`dns`."""

    def __init__(self, asked: Asked, names: Names) -> None:
        """Count as the options say."""
        self._query = "query" in asked.flags
        self._ignore = "ignoreAAAA" in asked.flags
        self._context = Context(asked)
        self._names = names
        self._queries: Counter[Values] = Counter()
        self._responses: Counter[Values] = Counter()
        self._types: Counter[Values] = Counter()

    def add(self, rows: Rows) -> None:
        """Count a batch of stored rows."""
        for row, l7 in _texts(rows, Application.DNS, self._names):
            dns = l7.dns
            if self._ignore and list(dns.qtypes) == ["AAAA"]:
                continue
            more = self._context.values(row, self._names)
            types, query = ",".join(dns.qtypes), (dns.query,) if self._query else ()
            answers = str(len(dns.ips))
            if row["verdict"] == Verdict.DROPPED:
                self._queries[*more, "Policy denied", types, answers, *query] += 1
            elif l7.type != flow_pb2.RESPONSE:
                self._queries[*more, "", types, answers, *query] += 1
            else:
                self._responses[*more, rcode_name(dns.rcode), types, answers, *query] += 1
                for kind in dns.rrtypes:
                    self._types[*more, kind, types, *query] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the families as they are now."""
        more, query = self._context.names, ("query",) if self._query else ()
        whole = (*more, "rcode", "qtypes", "ips_returned", *query)
        yield _counter("hubble_dns_queries", "DNS queries", whole, self._queries)
        yield _counter("hubble_dns_responses", "DNS responses", whole, self._responses)
        kinds = (*more, "type", "qtypes", *query)
        yield _counter("hubble_dns_response_types", "Records in answers", kinds, self._types)


def _texts(
    rows: Rows, application: Application, names: Names
) -> Iterator[tuple[np.void, flow_pb2.Layer7]]:
    for row in rows[(rows["type"] == REQUEST) & (rows["subtype"] == application)]:
        l7 = text_of(names.payloads.get(int(row["payload"]))).l7
        l7.type = int(row["state"])  # type: ignore[assignment]
        yield row, l7


def _counter(name: str, text: str, labels: Values, counts: Counter[Values]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in list(counts.items()):
        family.add_metric(values, count)
    return family
