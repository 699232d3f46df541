# SPDX-License-Identifier: Apache-2.0
"""Choosing and counting, without a network."""

from typing import Any, cast

import grpc
import pytest

from emojivoto.catalogue import BY_SHORTCODE, CATALOGUE, DOUGHNUT
from emojivoto.v1 import voting_pb2
from emojivoto.vote_bot import choose
from emojivoto.voting import Ballot


class Aborted(Exception):
    """What the context of a test raises on abort."""


class Context:
    """The part of a gRPC context that a vote uses."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


CONTEXT = cast(Any, Context())


@pytest.mark.parametrize(
    ("draws", "expected"),
    [((0.149,), ":doughnut:"), ((0.15, 0.0), ":joy:"), ((0.9, 0.999), ":poop:")],
)
def test_choose(draws: tuple[float, ...], expected: str) -> None:
    values = iter(draws)
    shortcodes = [emoji.shortcode for emoji in CATALOGUE]
    assert choose(shortcodes, lambda: next(values)) == expected


@pytest.mark.parametrize(("drawn", "fails"), [(0.29, True), (0.3, False)])
async def test_failure_rate_is_the_doughnuts(drawn: float, fails: bool) -> None:
    ballot = Ballot(failure_rate=0.3, delay=0.0, draw=lambda: drawn)
    if fails:
        with pytest.raises(Aborted):
            await ballot.vote(DOUGHNUT, CONTEXT)
    else:
        await ballot.vote(DOUGHNUT, CONTEXT)
    await ballot.vote(BY_SHORTCODE[":joy:"], CONTEXT)
    assert ballot.votes == ({":joy:": 1} if fails else {":joy:": 1, ":doughnut:": 1})


async def test_results_put_most_votes_first() -> None:
    ballot = Ballot(failure_rate=0.0, delay=0.0)
    for shortcode in (":joy:", ":ghost:", ":ghost:"):
        await ballot.vote(BY_SHORTCODE[shortcode], CONTEXT)
    response = await ballot.results(voting_pb2.ResultsRequest(), CONTEXT)
    results = cast(voting_pb2.ResultsResponse, response).results
    assert [(entry.shortcode, entry.votes) for entry in results] == [(":ghost:", 2), (":joy:", 1)]
