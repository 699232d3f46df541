# SPDX-License-Identifier: Apache-2.0
"""Addresses that DNS gave as rows of the ipcache."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_core.addresses import Address


class IpcacheNames:
    """Puts statements of their own source into the fold and carries them out at once."""

    def __init__(self, writer: IpcacheWriter) -> None:
        """Speak through the ipcache's one writer."""
        self._writer = writer

    def write(self, numbers: Mapping[Address, int | None]) -> None:
        """Make these rows, or take them away (None); done when the call returns."""
        self.hold(numbers)
        self._writer.flush()

    def hold(self, numbers: Mapping[Address, int | None]) -> None:
        """Say the same, for the next write."""
        for address, number in numbers.items():
            prefix = ip_network(address)
            said = {prefix: Metadata(Source.FQDN, number)} if number is not None else {}
            self._writer.fold.put(f"fqdn/{address}", said)
