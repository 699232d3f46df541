# SPDX-License-Identifier: Apache-2.0
"""All that a policy owner needs of the kernel: tables, records of numbers, endpoints' revisions.

Implements `policy.keeper.PolicyKernel` over the maps. Event loop's thread only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.store import MapStore
from cilium_core.layouts.policy import NumberInfo, NumberKey
from cilium_core.policy.tables import Step, Tables


class NumberRecords:
    """Number to the digest of the content that it stands for."""

    def __init__(self, kernel: PinnedMap[NumberKey, NumberInfo]) -> None:
        """Keep records in `kernel`."""
        self.kernel = kernel

    def read(self) -> dict[int, bytes]:
        """Return all records."""
        return {key.number: bytes(info.digest) for key, info in self.kernel.items()}

    def write(self, changes: Mapping[int, bytes | None]) -> None:
        """Store records; None forgets one."""
        kept = {NumberKey(n): NumberInfo(d) for n, d in changes.items() if d is not None}
        self.kernel.update_many(kept)
        self.kernel.delete_many(NumberKey(n) for n, digest in changes.items() if digest is None)


class PolicyMaps:
    """The policy maps of one node."""

    def __init__(self, store: MapStore) -> None:
        """Adopt what the store's maps hold."""
        self.kernel = KernelPolicy(store)
        self._endpoints = store.endpoints
        self._peers = NumberRecords(store.peer_numbers)
        self._policies = NumberRecords(store.policy_numbers)

    @property
    def tables(self) -> Tables:
        """What the kernel's tables hold, whatever became of the last `apply`."""
        return self.kernel.tables

    def records(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Return the records of bits and of policies."""
        return self._peers.read(), self._policies.read()

    def revision(self) -> int:
        """Return the highest revision that any endpoint enforces; 0 when there is none."""
        return max((row.revision for row in self._endpoints.current.values()), default=0)

    def record(
        self, bits: Mapping[int, bytes | None], policies: Mapping[int, bytes | None]
    ) -> None:
        """Store which content a number stands for."""
        self._peers.write(bits)
        self._policies.write(policies)

    def apply(self, steps: Sequence[Step]) -> None:
        """Write the steps in their order."""
        self.kernel.apply(steps)

    def set_revision(self, revision: int) -> None:
        """Have the connections of every endpoint that enforces a policy judged again."""
        self._endpoints.upsert(
            {
                key: replace(row, revision=revision)
                for key, row in self._endpoints.current.items()
                if row.policy
            }
        )
