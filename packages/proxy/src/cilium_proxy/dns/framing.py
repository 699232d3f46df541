# SPDX-License-Identifier: Apache-2.0
"""DNS messages on a TCP connection: two bytes of length, then the message (RFC 7766)."""

from __future__ import annotations

import asyncio


async def read_message(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next message; None when the connection ends, in the middle of one or between."""
    try:
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, OSError):
        return None


def framed(message: bytes) -> bytes:
    """Return a message with its length in front."""
    return len(message).to_bytes(2, "big") + message
