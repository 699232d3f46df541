# SPDX-License-Identifier: Apache-2.0
"""Messages on a stream, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.frames import LONGEST, Frames, TooLong, framed


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(1, 9)))
def test_any_cut_gives_the_same_messages(bodies: list[bytes], cuts: list[int]) -> None:
    stream, frames, found = b"".join(map(framed, bodies)), Frames(), []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        frames.feed(piece)
        found += frames.take()
    assert found == bodies


def test_no_message_is_that_long() -> None:
    frames = Frames()
    frames.feed((LONGEST + 1).to_bytes(4))
    with pytest.raises(TooLong):
        frames.take()
