# SPDX-License-Identifier: Apache-2.0
"""What one policy says of one direction, taken apart once for everyone whom it selects.

Pure, not thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakValueDictionary

from cilium_core.policy.bits import Use
from cilium_core.policy.entries import Entry, entries, names
from cilium_core.policy.named_ports import NamedPorts
from cilium_core.policy.rules import Direction, Policy


class Part:
    """The entries of one policy in one direction, and the bits that they need."""

    def __init__(self, policy: Policy, direction: Direction, named: NamedPorts) -> None:
        """Take a policy apart; `named` as in `entries`."""
        self.origin = policy.origin
        self.closes = direction in policy.default_deny
        self.entries: Sequence[Entry] = tuple(entries([policy], direction, named))
        self.uses: Sequence[Use | None] = tuple(entry.use for entry in self.entries)


class Parts:
    """The parts in use, by a number that stands for the policy."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: WeakValueDictionary[object, Part] = WeakValueDictionary()

    def of(self, number: int, policy: Policy, direction: Direction, named: NamedPorts) -> Part:
        """Return a policy's part; ports of names that it does not use make no difference."""
        mine: NamedPorts = named
        if named:
            used = names([policy], direction)
            mine = {name: ports for name, ports in named.items() if name in used}
        key = number, direction, frozenset(mine.items())
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = Part(policy, direction, mine)
        return found
