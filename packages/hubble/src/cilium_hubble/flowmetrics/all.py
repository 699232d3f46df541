# SPDX-License-Identifier: Apache-2.0
"""All metrics of flows that are asked for. None of them costs anything when none is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from cilium_hubble.flowmetrics.options import Asked
from cilium_hubble.flowmetrics.packets import Counted, counter
from cilium_hubble.flowmetrics.requests import Dns, Http
from cilium_hubble.flows.chunk import Names
from cilium_hubble.kernel.dtypes import Rows


class FlowMetrics:
    """Counts batches. `flow` is always counted, with the labels that were asked for if any were."""

    def __init__(self, asked: Sequence[Asked], names: Names) -> None:
        """Begin at zero."""
        named = {one.name: one for one in asked}
        plain = [one for one in asked if one.name not in ("http", "httpV2", "dns")]
        if "flow" not in named:
            plain.insert(0, Asked("flow"))
        self._counters: list[Counted] = [counter(one, names) for one in plain]
        self._requests: list[Http | Dns] = [
            Dns(one, names) if name == "dns" else Http(one, names)
            for name, one in named.items()
            if name in ("http", "httpV2", "dns")
        ]

    def add(self, rows: Rows) -> None:
        """Count a batch of stored rows, in the turn of the loop in which it was stored."""
        for counted in self._counters:
            counted.add(rows)

    def add_requests(self, rows: Rows) -> None:
        """Count a batch of what proxies saw."""
        self.add(rows)
        for counted in self._requests:
            counted.add(rows)

    def collect(self) -> Iterator[Metric]:
        """Yield the families as they are now."""
        for counted in self._counters:
            yield counted.collect()
        for requests in self._requests:
            yield from requests.collect()
