# SPDX-License-Identifier: Apache-2.0
"""Numbers that stand for contents inside the kernel, and outlive the process that chose them.

A content is known by its digest (16 bytes), so `records()` describes itself: kept in a pinned map
and given to `adopt` after a restart, it makes equal contents get equal numbers again. A number
that nobody uses any more passes through three stages before it can mean something else: *leaving*
(the kernel may still use it), *sent* (a batch that takes it out of the kernel is under way),
*quarantine* (out of the kernel, but a packet in flight may have read it). Pure: callers pass the
time, in seconds of a monotonic clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import blake2b

QUARANTINE = 1.0  # seconds; a packet is through the programs in microseconds
DIGEST_SIZE = 16


def digest(text: str) -> bytes:
    """Return the 128-bit name of a content, the same in every process and version."""
    return blake2b(text.encode(), digest_size=DIGEST_SIZE).digest()


class Numbers(ABC):
    """Contents, their numbers and the stages; subclasses choose which number is next."""

    def __init__(self) -> None:
        """Start with no number in use."""
        self._digests: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._adopted: set[int] = set()
        self._leaving: set[int] = set()
        self._sent: set[int] = set()
        self._quarantine: dict[int, float] = {}
        self._changed: dict[int, bytes | None] = {}
        self._taken: dict[int, bytes | None] = {}

    def adopt(self, records: Mapping[int, bytes]) -> None:
        """Take over what an earlier process recorded. ValueError once numbers are in use."""
        if self._digests:
            raise ValueError("numbers are adopted before any is used")
        for number, content in records.items():
            self._digests[number] = content
            self._numbers[content] = number
            self._occupy(number)
        self._adopted = set(self._digests)

    def records(self) -> dict[int, bytes]:
        """Return every number that is not free, with its content's digest."""
        return dict(self._digests)

    def take_changes(self) -> dict[int, bytes | None]:
        """Return the records that changed since the last call; None: the number became free.

        They must be stored before the kernel sees a number that they name.
        """
        changed, self._changed = self._changed, {}
        self._taken.update(changed)
        return changed

    def release(self, number: int) -> None:
        """Say that nothing that is wanted of the kernel uses the number."""
        self._leaving.add(number)

    def release_adopted(self) -> None:
        """Release what was adopted and never acquired; call when all inputs have been seen."""
        self._leaving |= self._adopted
        self._adopted = set()

    def sent(self) -> None:
        """Say that a batch begins after which the kernel holds none of the numbers released."""
        self._sent |= self._leaving
        self._leaving = set()

    def applied(self, now: float) -> None:
        """Say that the kernel has taken the last batch whole."""
        self._quarantine.update(dict.fromkeys(self._sent, now))
        self._sent = set()
        self._taken = {}

    def failed(self) -> None:
        """Say that the last batch was not taken whole: its numbers may still be in use.

        Its records may not be stored either, and are given again.
        """
        self._leaving |= self._sent
        self._sent = set()
        self._changed = {**self._taken, **self._changed}
        self._taken = {}

    def expire(self, now: float) -> None:
        """Free the numbers whose quarantine is over."""
        for number, since in list(self._quarantine.items()):
            if now - since >= QUARANTINE:
                del self._quarantine[number]
                content = self._digests.pop(number)
                if self._numbers.get(content) == number:
                    del self._numbers[content]
                self._changed[number] = None
                self._vacate(number)

    def _assign(self, number: int, content: bytes) -> int:
        self._occupy(number)
        self._digests[number] = content
        self._numbers[content] = number
        self._changed[number] = content
        return number

    def _claim(self, content: bytes) -> int | None:
        """Return the content's number, in use from now on, or None when it has none."""
        number = self._numbers.get(content)
        if number is not None:
            self._adopted.discard(number)
            self._leaving.discard(number)
            self._sent.discard(number)
            self._quarantine.pop(number, None)
        return number

    @abstractmethod
    def _occupy(self, number: int) -> None:
        """Note that a number is no longer free."""

    @abstractmethod
    def _vacate(self, number: int) -> None:
        """Note that a number is free again."""


class PolicyNumbers(Numbers):
    """Numbers of resolved policies, from 1 up; 0 means none."""

    def __init__(self) -> None:
        """Start with no number in use."""
        super().__init__()
        self._next = 1
        self._free: set[int] = set()

    def acquire(self, content: bytes) -> int:
        """Return the content's number, a fresh one when it has none."""
        number = self._claim(content)
        if number is not None:
            return number
        return self._assign(min(self._free, default=self._next), content)

    def _occupy(self, number: int) -> None:
        self._free.discard(number)
        self._free |= set(range(self._next, number))
        self._next = max(self._next, number + 1)

    def _vacate(self, number: int) -> None:
        self._free.add(number)
