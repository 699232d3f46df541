# SPDX-License-Identifier: Apache-2.0
"""A map that Python owns: a shadow of what the kernel holds, so that only differences are written.

One writer per table, on the event loop's thread; calls are synchronous and short (a system call
per batch). Writes come before deletions, in the caller's order, so that no reader finds a gap
between an old row and the new one that replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from cilium_agent.datapath.errors import KernelError
from cilium_agent.datapath.maps import PinnedMap
from cilium_core.layouts.record import Record

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)


class Changes(NamedTuple):
    """How many rows an operation wrote anew, overwrote and removed."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        """Tell whether the kernel was written to at all."""
        return any(self)


class Table(Generic[K, V]):
    """Desired rows in, differences to the kernel. Empty until `adopt`."""

    def __init__(self, kernel: PinnedMap[K, V]) -> None:
        """Shadow `kernel`; call `adopt` before the first `replace`."""
        self.kernel = kernel
        self._rows: dict[K, V] = {}

    @property
    def current(self) -> Mapping[K, V]:
        """A read-only view of the rows that the kernel holds."""
        return MappingProxyType(self._rows)

    def adopt(self) -> int:
        """Read the kernel's rows into the shadow (start, repair); return their number."""
        self._rows = dict(self.kernel.items())
        return len(self._rows)

    def replace(self, desired: Mapping[K, V]) -> Changes:
        """Make the kernel hold exactly `desired`."""
        changes = self.upsert(desired)
        removed = self.delete([key for key in self._rows if key not in desired])
        return changes._replace(removed=removed.removed)

    def upsert(self, rows: Mapping[K, V]) -> Changes:
        """Write the rows that the kernel does not hold like this.

        Those that it has in another form go first: they find room in a map that is full. The
        shadow of a full map is what the kernel took of them.
        """
        changed = {k: v for k, v in rows.items() if k in self._rows and self._rows[k] != v}
        added = {k: v for k, v in rows.items() if k not in self._rows}
        different = changed | added
        if not different:
            return Changes()
        try:
            self.kernel.update_many(different)
        except KernelError as error:
            if error.done is None:
                self.adopt()
            else:
                self._rows.update(islice(different.items(), error.done))
            raise
        self._rows.update(different)
        return Changes(added=len(added), changed=len(changed))

    def delete(self, keys: Iterable[K]) -> Changes:
        """Remove rows; unknown keys are ignored."""
        known = [key for key in keys if key in self._rows]
        self.kernel.delete_many(known)
        for key in known:
            del self._rows[key]
        return Changes(removed=len(known))
