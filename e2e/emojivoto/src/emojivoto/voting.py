# SPDX-License-Identifier: Apache-2.0
"""The voting service: counts votes, one method per emoji, and fails those for the doughnut.

Counts live in memory; one asyncio loop owns them, so that no lock is needed.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping

import grpc
import prometheus_client
from google.protobuf.message import Message

from emojivoto import rpc, settings
from emojivoto.catalogue import CATALOGUE, DOUGHNUT, Emoji
from emojivoto.v1 import voting_pb2

DESCRIPTOR = voting_pb2.DESCRIPTOR.services_by_name["VotingService"]

_VOTES = prometheus_client.Counter("emojivoto_votes", "Votes counted, by emoji.", ["emoji"])


class Ballot:
    """The votes so far, and what a vote meets on its way to be counted.

    `failure_rate` is the probability that a vote for the doughnut fails, `delay` what every vote
    waits, in seconds; `draw` returns a number in [0, 1).
    """

    def __init__(
        self, failure_rate: float, delay: float, draw: Callable[[], float] = random.random
    ) -> None:
        self.votes: Counter[str] = Counter()
        self._failure_rate = failure_rate
        self._delay = delay
        self._draw = draw

    async def vote(self, emoji: Emoji, context: rpc.Context) -> Message:
        """Count one vote; a doughnut that fails ends the call with status UNKNOWN."""
        if self._delay:
            await asyncio.sleep(self._delay)
        if emoji == DOUGHNUT and self._draw() < self._failure_rate:
            await context.abort(grpc.StatusCode.UNKNOWN, "the doughnut cannot be voted for")
        self.votes[emoji.shortcode] += 1
        _VOTES.labels(emoji.shortcode).inc()
        return voting_pb2.VoteResponse()

    async def results(self, _request: Message, _context: rpc.Context) -> Message:
        """Every emoji with at least one vote, most votes first."""
        return voting_pb2.ResultsResponse(
            results=[
                voting_pb2.VotingResult(shortcode=shortcode, votes=count)
                for shortcode, count in self.votes.most_common()
            ]
        )

    def handlers(self) -> Mapping[str, rpc.Handler]:
        """The service's methods by name."""

        def for_emoji(emoji: Emoji) -> rpc.Handler:
            return lambda _request, context: self.vote(emoji, context)

        votes = {emoji.method: for_emoji(emoji) for emoji in CATALOGUE}
        return {**votes, "Results": self.results}


def main() -> None:
    """Serve on GRPC_PORT (8080), with metrics on PROM_PORT (8801)."""
    ballot = Ballot(
        settings.number(os.environ, "FAILURE_RATE", default=0.0, highest=1.0),
        settings.seconds(os.environ, "ARTIFICIAL_DELAY"),
    )
    grpc_port = settings.port(os.environ, "GRPC_PORT", 8080)
    prom_port = settings.port(os.environ, "PROM_PORT", 8801)
    asyncio.run(rpc.serve(rpc.service(DESCRIPTOR, ballot.handlers()), grpc_port, prom_port))
