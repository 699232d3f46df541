# SPDX-License-Identifier: Apache-2.0
"""The nodes of the cluster and their addresses, for those who want to hear of changes.

Pure, event loop only.
"""

from __future__ import annotations

import asyncio


class ClusterNodes:
    """Addresses by node name; a node whose address is unknown has an empty one."""

    def __init__(self) -> None:
        """Start empty."""
        self.addresses: dict[str, str] = {}
        self.version = 0
        self._changed = asyncio.Event()

    def put(self, name: str, address: str) -> None:
        """Add or replace a node."""
        if self.addresses.get(name) != address:
            self.addresses[name] = address
            self._note()

    def remove(self, name: str) -> None:
        """Take a node away."""
        if self.addresses.pop(name, None) is not None:
            self._note()

    async def wait(self, version: int) -> None:
        """Return when something has changed since this version."""
        while self.version == version:
            await self._changed.wait()

    def _note(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()
