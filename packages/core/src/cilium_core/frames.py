# SPDX-License-Identifier: Apache-2.0
"""Messages on a stream: each behind its size, four bytes, big-endian. No I/O."""

from __future__ import annotations

import struct

LONGEST = 1 << 20
_SIZE = struct.Struct("!I")


class TooLong(ValueError):
    """A message that says to be longer than any is."""


def framed(body: bytes) -> bytes:
    """Return a message as it goes over the stream."""
    return _SIZE.pack(len(body)) + body


class Frames:
    """What has come of a stream, whole messages out."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self._held = self._held + data if self._held else data

    def take(self) -> list[bytes]:
        """Return the messages that are whole. TooLong when the stream cannot be read on."""
        held, at, found = self._held, 0, []
        while len(held) - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(held, at)
            if size > LONGEST:
                raise TooLong(f"{size} bytes; {LONGEST} are the most")
            if len(held) - at < _SIZE.size + size:
                break
            found.append(held[at + _SIZE.size : at + _SIZE.size + size])
            at += _SIZE.size + size
        self._held = held[at:]
        return found
