# SPDX-License-Identifier: Apache-2.0
"""Which service a connection was opened to, so that what a proxy saw in it can name it too.

Proxies see backends. The kernel's events of the same connection name the service; the latest
connections are remembered. Pure, event loop only.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from cilium_hubble.flows.interned import Interned
from cilium_hubble.flows.record import Reply
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.model import ServiceName

REMEMBERED = 1 << 15


class Connections:
    """Service names by client, server and ports of a connection."""

    def __init__(self, services: Interned[ServiceName]) -> None:
        """Numbers are of `services`."""
        self._services = services
        self._named: OrderedDict[bytes, ServiceName] = OrderedDict()

    def learn(self, rows: Rows) -> None:
        """Take in the kernel's rows, named."""
        told = (rows["destination_service"] != 0) & (rows["reply"] == Reply.NO)
        if not told.any():
            return
        for row in rows[told]:
            key = _key(row)
            if key not in self._named:
                self._named[key] = self._services[int(row["destination_service"])]
        while len(self._named) > REMEMBERED:
            self._named.popitem(last=False)

    def name(self, rows: Rows) -> None:
        """Give proxies' rows the service of their connection where they have none."""
        if not self._named:
            return
        for row in rows:
            answer = row["reply"] == Reply.YES
            name = self._named.get(_key(row, swapped=answer))
            side = "source_service" if answer else "destination_service"
            if name is not None and not row[side]:
                row[side] = self._services.number(name)


def _key(row: np.void, *, swapped: bool = False) -> bytes:
    ends: list[bytes] = [
        row["source"].tobytes() + row["sport"].tobytes(),
        row["destination"].tobytes() + row["dport"].tobytes(),
    ]
    if swapped:
        ends.reverse()
    protocol: bytes = row["proto"].tobytes()
    return b"".join(ends) + protocol
