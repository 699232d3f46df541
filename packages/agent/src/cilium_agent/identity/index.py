# SPDX-License-Identifier: Apache-2.0
"""What is known of the cluster's identities: numbers by labels, labels by number, and their state.

Follows the CiliumIdentity objects; no requests, one owner on the event loop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from cilium_agent.errors import IdentitiesExhausted
from cilium_core.crds.models import CiliumIdentity
from cilium_core.identity import (
    HEARTBEAT_MARK,
    MAX_CLUSTER_IDENTITY,
    MIN_CLUSTER_IDENTITY,
    canonical_key,
    is_cluster_identity,
)
from cilium_core.labels import LabelSet

QUARANTINE = 600.0


def number_of(item: CiliumIdentity) -> int | None:
    """Return the number that an object stands for, None when its name is no cluster identity."""
    name = item.metadata.name
    if not name.isdecimal() or str(int(name)) != name or not is_cluster_identity(int(name)):
        return None
    return int(name)


class IdentityIndex:
    """Identities as last seen. A number that went rests for `QUARANTINE` seconds."""

    def __init__(self) -> None:
        """Start empty."""
        self._labels: dict[int, LabelSet] = {}
        self._numbers: dict[str, set[int]] = {}
        self._dying: set[int] = set()
        self._marked: set[int] = set()
        self._gone: dict[int, float] = {}

    @property
    def labels(self) -> Mapping[int, LabelSet]:
        """Labels by number."""
        return self._labels

    def put(self, number: int, item: CiliumIdentity) -> None:
        """Take an object in as it is now."""
        self._forget(number)
        self._gone.pop(number, None)
        self._labels[number] = dict(item.security_labels)
        self._numbers.setdefault(canonical_key(item.security_labels), set()).add(number)
        if item.metadata.deletion_timestamp:
            self._dying.add(number)
        if HEARTBEAT_MARK in item.metadata.annotations:
            self._marked.add(number)

    def drop(self, number: int) -> None:
        """Note that there is no object of the number; nobody here shall take it soon."""
        self._forget(number)
        self.avoid(number)

    def avoid(self, number: int) -> None:
        """Do not draw the number for a while: others may still hold rows with it."""
        self._gone[number] = time.monotonic()

    def lowest(self, key: str) -> int | None:
        """Return the number that serves a label set, None when there is none to last."""
        return min(self._numbers.get(key, set()) - self._dying, default=None)

    def serves(self, number: int, key: str) -> bool:
        """Tell whether the number stands for this label set, and is not being deleted."""
        return number in self._numbers.get(key, ()) and number not in self._dying

    def marked(self, number: int) -> bool:
        """Tell whether the operator is about to delete the identity as unused."""
        return number in self._marked

    def draw(self) -> int:
        """Return a number at random that no object has or had lately. IdentitiesExhausted."""
        now = time.monotonic()
        self._gone = {n: at for n, at in self._gone.items() if now - at < QUARANTINE}
        taken = self._labels.keys() | self._gone.keys()
        span = MAX_CLUSTER_IDENTITY - MIN_CLUSTER_IDENTITY + 1
        if len(taken) >= span:
            raise IdentitiesExhausted(
                f"all {span} cluster identities are in use; fewer labels should count for "
                "identity (setting `labels`)"
            )
        while True:
            number = random.randint(MIN_CLUSTER_IDENTITY, MAX_CLUSTER_IDENTITY)
            if number not in taken:
                return number

    def _forget(self, number: int) -> None:
        labels = self._labels.pop(number, None)
        self._dying.discard(number)
        self._marked.discard(number)
        if labels is None:
            return
        key = canonical_key(labels)
        self._numbers[key].discard(number)
        if not self._numbers[key]:
            del self._numbers[key]
