# SPDX-License-Identifier: Apache-2.0
"""Flow uuids, made from the row's sequence number: none is stored and any is found. Pure."""

from __future__ import annotations

import secrets
from uuid import UUID

_SEQUENCE_BITS = 62


class FlowIds:
    """Uuids (version 8) of one run of this process: a random head, the sequence number as tail."""

    def __init__(self, head: int | None = None) -> None:
        """`head` is 60 bits; None draws them."""
        drawn = secrets.randbits(60) if head is None else head
        self.head = drawn
        self._head = (drawn >> 12) << 80 | 8 << 76 | (drawn & 0xFFF) << 64 | 2 << _SEQUENCE_BITS

    def of(self, sequence: int) -> str:
        """Return a row's uuid."""
        text = f"{self._head | sequence:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def sequence(self, text: str) -> int | None:
        """Return the row number of a uuid, None for one of another run. ValueError for no uuid."""
        number = UUID(text).int
        if number >> _SEQUENCE_BITS != self._head >> _SEQUENCE_BITS:
            return None
        return number & (1 << _SEQUENCE_BITS) - 1
