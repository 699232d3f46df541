# SPDX-License-Identifier: Apache-2.0
"""Merging by time: against sorted() for all that is known in time, and bounded waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilium_hubble.relay.sorter import NOTHING, Piece, Sorter


def piece(lane: int, *times: int) -> Piece:
    return Piece(np.array(times, "i8"), [f"{lane}:{time}".encode() for time in times])


def told(found: Piece) -> list[int]:
    return [int(time) for time in found.times]


def test_nothing_passes_a_lane_that_may_still_have_earlier_ones() -> None:
    sorter = Sorter(patience=1.0)
    sorter.open("a")
    sorter.open("b")
    sorter.put("a", piece(1, 10, 20, 30), 0, now=0.0)
    assert sorter.take(0.0) is NOTHING
    assert sorter.held("a") == 3
    sorter.put("b", piece(2, 15, 25), 0, now=0.1)
    first = sorter.take(0.1)
    assert first.responses == [b"1:10", b"2:15", b"1:20", b"2:25"]
    sorter.put("b", NOTHING, 40, now=0.2)  # quiet, and says so
    assert told(sorter.take(0.2)) == [30]
    assert sorter.late == 0


def test_a_lane_that_says_nothing_holds_the_others_up_for_so_long_only() -> None:
    sorter = Sorter(patience=1.0)
    sorter.open("a")
    sorter.open("mute")
    sorter.put("a", piece(1, 10), 0, now=5.0)
    assert sorter.due() == 6.0
    assert sorter.take(5.9) is NOTHING
    assert told(sorter.take(6.0)) == [10]
    sorter.put("mute", piece(2, 5), 0, now=6.1)
    assert told(sorter.take(6.1)) == [5]
    assert sorter.late == 1


def test_who_has_left_is_not_waited_for() -> None:
    sorter = Sorter(patience=60.0)
    sorter.open("a")
    sorter.open("b")
    sorter.put("a", piece(1, 10), 0, now=0.0)
    sorter.put("b", piece(2, 20, 30), 0, now=0.0)
    sorter.close("b")
    assert told(sorter.take(0.0)) == [10]  # a may still have something before 20
    sorter.close("a")
    assert told(sorter.take(0.0)) == [20, 30]
    assert sorter.empty
    assert sorter.due() is None


def test_a_lane_that_opens_again_keeps_what_it_held() -> None:
    sorter = Sorter(patience=60.0)
    sorter.open("a")
    sorter.open("b")
    sorter.put("a", piece(1, 10, 20), 0, now=0.0)
    sorter.close("a")
    sorter.open("a")
    sorter.put("b", piece(2, 30), 0, now=0.0)
    assert sorter.take(0.0) is NOTHING
    sorter.put("a", piece(1, 40), 0, now=0.0)
    assert told(sorter.take(0.0)) == [10, 20, 30]


LANES = st.lists(st.lists(st.integers(0, 50), max_size=30).map(sorted), min_size=1, max_size=5)


@given(LANES, st.randoms(use_true_random=False))
def test_any_interleaving_comes_out_sorted_and_whole(
    lanes: list[list[int]], random: object
) -> None:
    sorter, out = Sorter(patience=1e9), []
    left = {lane: list(times) for lane, times in enumerate(lanes)}
    for lane in left:
        sorter.open(lane)
    while left:
        lane = random.choice(sorted(left))  # type: ignore[attr-defined]
        count = random.randint(0, 4)  # type: ignore[attr-defined]
        now, left[lane] = left[lane][:count], left[lane][count:]
        sorter.put(lane, piece(lane, *now), 0, now=0.0)
        if not left[lane]:
            del left[lane]
            sorter.close(lane)
        out += sorter.take(0.0).responses
    out += sorter.take(0.0).responses
    times = [int(one.split(b":")[1]) for one in out]
    assert times == sorted(time for lane in lanes for time in lane)
    for lane, wanted in enumerate(lanes):
        assert [t for one, t in zip(out, times, strict=True) if one[:1] == b"%d" % lane] == wanted
    assert sorter.empty
    assert sorter.late == 0
