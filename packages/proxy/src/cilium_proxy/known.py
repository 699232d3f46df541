# SPDX-License-Identifier: Apache-2.0
"""The rule sets that records may speak of: those that hold, and for a while those that went. Pure.

A rule set that is removed still has connections, and their requests still have records.
"""

from __future__ import annotations

from collections import OrderedDict

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.rules.held import Change

MOST_GONE = 1024


class Known:
    """Rule sets by port, for the writer of records."""

    def __init__(self) -> None:
        """Start with none."""
        self._here: dict[int, pb.RuleSet] = {}
        self._gone: OrderedDict[int, pb.RuleSet] = OrderedDict()

    def note(self, change: Change) -> None:
        """Take a change in."""
        for entry in change.removed:
            if before := self._here.pop(entry.port, None):
                self._gone[entry.port] = before
                self._gone.move_to_end(entry.port)
        self._here.update({entry.port: entry for entry in change.changed})
        while len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)

    def find(self, port: int) -> pb.RuleSet | None:
        """Return the rule set of a port, one that is gone when there is no other."""
        return self._here.get(port) or self._gone.get(port)
