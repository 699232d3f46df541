# SPDX-License-Identifier: Apache-2.0
"""First and last N of a merged stream: flows count, events on nodes and losses pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_hubble.relay import limits
from cilium_hubble.relay.sorter import Piece

FLOW, LOST = b"\x0a", b"\x1a"


def piece(*responses: bytes) -> Piece:
    return Piece(np.arange(len(responses), dtype="i8"), list(responses))


async def stream(*found: Piece | list[bytes]) -> AsyncIterator[Piece | list[bytes]]:
    for one in found:
        yield one


async def through(limit: Callable[..., Any], number: int, *found: Any) -> list[bytes]:
    out: list[bytes] = []
    async for one in limit(stream(*found), number):
        out += one.responses if isinstance(one, Piece) else one
    return out


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (limits.first, [b"status", FLOW + b"1", LOST, FLOW + b"2", FLOW + b"3"]),
        (limits.last, [b"status", b"end", FLOW + b"3", LOST, FLOW + b"4", FLOW + b"5"]),
    ],
)
async def test_three(limit: Callable[..., Any], expected: list[bytes]) -> None:
    flows = [FLOW + b"%d" % number for number in range(6)]
    got = await through(
        *(limit, 3, [b"status"]),
        *(piece(flows[1], LOST, flows[2]), piece(), piece(flows[3], LOST, flows[4])),
        *(piece(flows[5]), [b"end"]),
    )
    assert got == expected


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=6), st.integers(1, 12))
async def test_against_slices(shape: list[list[bool]], number: int) -> None:
    count, pieces = 0, []
    for part in shape:
        responses = []
        for flow in part:
            responses.append((FLOW if flow else LOST) + b"%d" % count)
            count += 1
        pieces.append(piece(*responses))
    whole = [one for found in pieces for one in found.responses]
    flows = [one for one in whole if limits.is_flow(one)]
    first = await through(limits.first, number, *pieces)
    assert [one for one in first if limits.is_flow(one)] == flows[:number]
    assert first == whole[: len(first)]
    last = await through(limits.last, number, *pieces)
    assert [one for one in last if limits.is_flow(one)] == flows[-number:]
    assert last == whole[len(whole) - len(last) :]
