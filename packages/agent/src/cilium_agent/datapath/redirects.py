# SPDX-License-Identifier: Apache-2.0
"""The redirects that the kernel holds, in the engine's values, and what the ports stand for.

Implements `proxies.rulesets.RedirectKernel` over the maps. Event loop's thread only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cilium_agent.datapath.enforcement import NumberRecords
from cilium_agent.datapath.rows import kernel_key, key_of
from cilium_agent.datapath.store import MapStore
from cilium_core.layouts import policy as layouts
from cilium_core.layouts.redirect import RedirectInfo, RedirectKey
from cilium_core.policy.redirects import At


class KernelRedirects:
    """The redirects of one node."""

    def __init__(self, store: MapStore) -> None:
        """Adopt what the store's maps hold."""
        self._table = store.redirects
        self._ports = NumberRecords(store.rule_set_ports)

    def records(self) -> dict[int, bytes]:
        """Return which rule set a port stands for."""
        return self._ports.read()

    def record(self, changes: Mapping[int, bytes | None]) -> None:
        """Store (None: forget) which rule set a port stands for."""
        self._ports.write(changes)

    def held(self) -> dict[At, int]:
        """Return the port that each row leads an identity to."""
        return {_at(key): info.port for key, info in self._table.current.items()}

    def write(self, ports: Mapping[At, int]) -> None:
        """Lead to these ports from now on."""
        keys = {at: _key(at) for at in ports}
        self._table.upsert({keys[at]: _info(keys[at], port) for at, port in ports.items()})

    def delete(self, places: Iterable[At]) -> None:
        """Lead nowhere from now on, and so drop."""
        self._table.delete([_key(at) for at in places])


def _key(at: At) -> RedirectKey:
    row, identity = kernel_key(at[0]), at[1]
    return RedirectKey(row.policy, identity, row.direction, row.protocol, row.port, row.prefixlen)


def _info(key: RedirectKey, port: int) -> RedirectInfo:
    return RedirectInfo(
        key.policy, key.identity, key.direction, key.protocol, key.row_port, key.prefixlen, 0, port
    )


def _at(key: RedirectKey) -> At:
    raw = layouts.RowKey(key.prefixlen, key.policy, key.direction, key.protocol, key.row_port)
    return key_of(raw), key.identity
