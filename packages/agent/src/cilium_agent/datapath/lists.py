# SPDX-License-Identifier: Apache-2.0
"""Overflow lists of policy rows: shared by content, never changed, freed after a quarantine.

A packet that has read a row may still be reading its list, so a number is only given out again
some time after its last row has gone. One owner, on the event loop's thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.rows import Cells, kernel_list
from cilium_core.layouts.policy import ListInfo, ListKey
from cilium_core.policy.tables import Cell

QUARANTINE = 1.0  # seconds; a packet's way through the programs takes microseconds
_LAST = (1 << 32) - 1


class OverflowLists:
    """Which lists the kernel holds, who uses them, and which wait to be freed."""

    def __init__(
        self,
        kernel: PinnedMap[ListKey, ListInfo],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Manage `kernel`; call `adopt` first."""
        self.kernel = kernel
        self._clock = clock
        self._cells: dict[int, Cells] = {}
        self._numbers: dict[Cells, int] = {}
        self._users: dict[int, int] = {}
        self._retired: deque[tuple[float, int]] = deque()
        self._last = 0

    @property
    def cells(self) -> Mapping[int, Cells]:
        """What each list in the kernel holds, those in quarantine included."""
        return self._cells

    def adopt(self, used: Iterable[int]) -> None:
        """Read the kernel's lists; `used` are the numbers that rows name, once for each row."""
        found: dict[int, dict[int, Cell]] = {}
        for key, info in self.kernel.items():
            cell = Cell(info.word, info.allow, info.deny, info.l7)
            found.setdefault(key.list_id, {})[key.index] = cell
        self._cells = {
            number: tuple(cells[index] for index in sorted(cells))
            for number, cells in found.items()
        }
        self._numbers, self._users = {}, {}
        self._retired.clear()
        for number in used:
            if number in self._cells:
                self._users[number] = self._users.get(number, 0) + 1
                self._numbers.setdefault(self._cells[number], number)
        for number in self._cells:
            if number not in self._users:  # a writer died between list and row, or in quarantine
                self._retired.append((self._clock(), number))
        self._last = max(self._cells, default=0)

    def take(self, cells: Cells) -> int:
        """Return the number of a list with this content, written if there was none; 0 for none."""
        if not cells:
            return 0
        number = self._numbers.get(cells)
        if number is None:
            number = self._free_number()
            self.kernel.update_many(kernel_list(number, cells))
            self._cells[number] = cells
            self._numbers[cells] = number
        self._users[number] = self._users.get(number, 0) + 1
        return number

    def give_back(self, number: int) -> None:
        """Say that a row no longer names the list; the last user's word retires it."""
        if number not in self._users:
            return
        self._users[number] -= 1
        if self._users[number] == 0:
            del self._users[number]
            if self._numbers.get(self._cells[number]) == number:
                del self._numbers[self._cells[number]]
            self._retired.append((self._clock(), number))

    def collect(self) -> int:
        """Free the lists whose quarantine is over; return how many still wait."""
        while self._retired and self._clock() - self._retired[0][0] >= QUARANTINE:
            _, number = self._retired.popleft()
            self.kernel.delete_many(kernel_list(number, self._cells.pop(number)))
        return len(self._retired)

    def _free_number(self) -> int:
        number = self._last
        while True:
            number = 1 if number >= _LAST else number + 1
            if number not in self._cells:
                self._last = number
                return number
