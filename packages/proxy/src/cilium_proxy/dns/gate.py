# SPDX-License-Identifier: Apache-2.0
"""A question's way: read → judged → asked → learned from → answered. The same for UDP and TCP.

What is refused is answered at once and costs no task. Nothing here fails because of what a client
or a server sends.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import dns.rcode

from cilium_proxy.dns import answers, questions
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.flows import Flow, NoAnswer, RulesInForce
from cilium_proxy.dns.learning import Learner
from cilium_proxy.dns.limits import Busy, Room
from cilium_proxy.dns.questions import NotAQuestion, Question
from cilium_proxy.dns.records import Records

# Asks the server and returns what `belongs` to the question, under the client's id.
Forward = Callable[[Question], Awaitable[bytes]]


class Gate:
    """Decides and keeps the order; transports are the callers'."""

    def __init__(
        self, learner: Learner, records: Records, counts: Counts, room: Room, refusal: int
    ) -> None:
        """`refusal` is the response code for what no rule allows."""
        self.counts = counts
        self._learner = learner
        self._records = records
        self._room = room
        self._refusal = refusal

    def judge(self, rules: RulesInForce, flow: Flow, wire: bytes) -> Question | bytes | None:
        """Return the question that may be asked, else the reply, else nothing to reply to."""
        self.counts.question("received")
        try:
            question = questions.read(wire)
        except NotAQuestion as error:
            self.counts.question("parse_errors")
            self.counts.discarded(error.reason)
            return error.reply
        allowed = rules.names.allow(question.name)
        self.counts.question("forwarded" if allowed else "denied")
        self._records.asked(rules, flow, question, allowed=allowed)
        return question if allowed else question.refusal(self._refusal)

    async def answer(
        self, rules: RulesInForce, flow: Flow, question: Question, forward: Forward
    ) -> bytes | None:
        """Return what the client gets; None when it should think that nobody answers."""
        try:
            async with self._room.place(flow.client.address):
                return await self._answer(rules, flow, question, forward)
        except Busy:
            self.counts.discarded("busy")
            self._records.failed(rules, flow, question, 0.0)
            return question.refusal(dns.rcode.SERVFAIL)

    async def _answer(
        self, rules: RulesInForce, flow: Flow, question: Question, forward: Forward
    ) -> bytes | None:
        began = time.monotonic()
        try:
            wire = await forward(question)
        except NoAnswer as error:
            seconds = time.monotonic() - began
            self.counts.upstream(seconds, error.reason)
            self._records.failed(rules, flow, question, seconds)
            return question.refusal(dns.rcode.SERVFAIL) if error.told else None
        seconds = time.monotonic() - began
        self.counts.upstream(seconds)
        answer = answers.read(question, wire)
        if not answer.whole:
            self.counts.discarded("answer in part")
        if answer.rcode == dns.rcode.NOERROR:  # nobody connects to the addresses of an error
            await self._learner.learn(flow.client.address, question.name, answer)
        self._records.answered(rules, flow, question, answer, seconds)
        return wire
