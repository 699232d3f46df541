# SPDX-License-Identifier: Apache-2.0
"""Carries the fold into the kernel's ipcache, difference by difference.

Rows of local endpoints are the endpoint side's (written before a pod starts, removed with it);
`is_local` tells them apart, so that neither side deletes the other's. Until `prune`, which the
daemon calls once every list is in and endpoints are restored, nothing is deleted. What the table
refuses (a map may be full) is tried again by the next `flush`; deletions, which make room, are
done all the same. Event loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from cilium_agent.ipcache.fold import Metadata, PrefixFold
from cilium_core.addresses import UNSPECIFIED, Network, pack_address, pack_network, unpack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey


class IpcacheTable(Protocol):
    """The part of the datapath's table that is used."""

    @property
    def current(self) -> Mapping[IpcacheKey, IpcacheInfo]: ...

    def upsert(self, rows: Mapping[IpcacheKey, IpcacheInfo]) -> object: ...

    def delete(self, keys: Iterable[IpcacheKey]) -> object: ...


class IpcacheWriter:
    """Owner of all ipcache rows but local endpoints'."""

    def __init__(self, table: IpcacheTable, is_local: Callable[[bytes], bool]) -> None:
        """`is_local` tells whether 16 address bytes are a local endpoint's.

        `on_row` is told of each prefix that was written: its row (None: gone) and who spoke.
        """
        self.fold = PrefixFold()
        self.on_row: Callable[[Network, Metadata | None, str], None] = lambda *_: None
        self._table = table
        self._is_local = is_local
        self._may_delete = False

    def flush(self) -> None:
        """Write what changed since the last call. Raises what the table raises."""
        rows: dict[IpcacheKey, IpcacheInfo] = {}
        gone: list[IpcacheKey] = []
        dirty = self.fold.take_dirty()
        said = {prefix: self.fold.said(prefix) for prefix in dirty}
        for prefix, (winner, _) in said.items():
            key = key_of(prefix)
            if self._local(key):
                continue
            if winner is not None:
                rows[key] = row_of(winner)
            elif self._may_delete:
                gone.append(key)
        try:
            try:
                self._table.upsert(rows)
            finally:
                self._table.delete(gone)
        except BaseException:
            self.fold.mark_dirty(dirty)
            raise
        for prefix, (winner, speaker) in said.items():
            self.on_row(prefix, winner, speaker)

    def prune(self) -> int:
        """Allow deletions and remove rows that nothing stands for; return their number."""
        self._may_delete = True
        wanted = {key_of(prefix) for prefix, _ in self.fold.rows()}
        stale = [key for key in self._table.current if key not in wanted and not self._local(key)]
        try:
            self.flush()
        finally:
            self._table.delete(stale)
        return len(stale)

    def entries(self) -> list[tuple[Network, IpcacheInfo]]:
        """Return every row in force, local endpoints' included, in prefix order."""
        rows = [(unpack_network(k.prefixlen, k.addr), v) for k, v in self._table.current.items()]
        return sorted(
            rows, key=lambda row: (row[0].version, row[0].network_address, row[0].prefixlen)
        )

    def _local(self, key: IpcacheKey) -> bool:
        return key.prefixlen == 128 and self._is_local(key.addr)


def key_of(prefix: Network) -> IpcacheKey:
    """Return the map key of a prefix."""
    return IpcacheKey(*pack_network(prefix))


def row_of(metadata: Metadata) -> IpcacheInfo:
    """Return the map value of a statement."""
    tunnel = pack_address(metadata.tunnel) if metadata.tunnel is not None else UNSPECIFIED
    return IpcacheInfo(identity=metadata.identity, tunnel=tunnel)
