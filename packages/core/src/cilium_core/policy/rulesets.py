# SPDX-License-Identifier: Apache-2.0
"""Ports of rule sets: numbers that stand for a rule set and outlive the process that chose them.

Only the first block is allotted here; the same place in the other one is for a second proxy, which
takes over from the first. Pure.
"""

from __future__ import annotations

from cilium_core.errors import CiliumError
from cilium_core.layouts.redirect import BLOCK, PORTS
from cilium_core.policy.numbers import Numbers

BLOCK_PORTS = range(PORTS[0], PORTS[0] + BLOCK)


class NoPortLeft(CiliumError):
    """Every port stands for a rule set already: connections that others govern are dropped."""


class RuleSetPorts(Numbers):
    """Which port a rule set has, by its digest."""

    def __init__(self) -> None:
        """Start with every port free."""
        super().__init__()
        self._next = BLOCK_PORTS[0]
        self._free: set[int] = set()

    def acquire(self, content: bytes) -> int:
        """Return the rule set's port, a fresh one when it has none. NoPortLeft.

        One that meant something else may still have that one's connections: it comes last.
        """
        port = self._claim(content)
        if port is not None:
            return port
        port = self._next if self._next in BLOCK_PORTS else min(self._free, default=0)
        if not port:
            raise NoPortLeft(f"all {len(BLOCK_PORTS)} ports stand for L7 rule sets; use fewer")
        return self._assign(port, content)

    def _occupy(self, number: int) -> None:
        self._free.discard(number)
        self._free |= set(range(self._next, number))
        self._next = max(self._next, number + 1)

    def _vacate(self, number: int) -> None:
        self._free.add(number)
