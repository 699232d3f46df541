# SPDX-License-Identifier: Apache-2.0
"""The first or the last N flows of a merged stream; what is no flow does not count. Pure.

Each node was asked for N of its own, so that the stream has the N wanted ones among at most N a
node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from cilium_hubble.relay.sorter import Piece

MOST = 65535  # what a node holds at most: whoever asks for more asks for everything
_FLOW = 0x0A  # first byte of a GetFlowsResponse with a flow: field 1, a message

Stream = AsyncIterator[Piece | list[bytes]]


def is_flow(response: bytes) -> bool:
    """Tell whether a serialised GetFlowsResponse carries a flow."""
    return response[:1] == b"\x0a"


async def first(stream: Stream, number: int) -> AsyncGenerator[Piece | list[bytes], None]:
    """Pass on until `number` flows went by."""
    left = number
    async for found in stream:
        if not isinstance(found, Piece):
            yield found
            continue
        flows = [index for index, one in enumerate(found.responses) if one[0] == _FLOW]
        if len(flows) >= left:
            end = flows[left - 1] + 1
            yield Piece(found.times[:end], found.responses[:end])
            return
        left -= len(flows)
        yield found


async def last(stream: Stream, number: int) -> AsyncGenerator[Piece | list[bytes], None]:
    """Keep what comes until the end, then pass on from the last `number` flows on."""
    kept: deque[Piece] = deque()
    counts: deque[int] = deque()
    total = 0
    async for found in stream:
        if not isinstance(found, Piece):
            yield found
            continue
        kept.append(found)
        counts.append(sum(map(is_flow, found.responses)))
        total += counts[-1]
        while counts and total - counts[0] >= number:
            total -= counts.popleft()
            kept.popleft()
    if kept and total > number:
        head = kept.popleft()
        flows = [index for index, one in enumerate(head.responses) if one[0] == _FLOW]
        start = flows[total - number]
        yield Piece(head.times[start:], head.responses[start:])
    for piece in kept:
        yield piece
