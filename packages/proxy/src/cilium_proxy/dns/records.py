# SPDX-License-Identifier: Apache-2.0
"""Access records of questions and answers. Their way to hubble is the sink's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from cilium_core.proto import access_pb2 as access
from cilium_core.proto import flow_pb2 as flow_pb
from cilium_proxy.dns.answers import Answer
from cilium_proxy.dns.flows import Flow, RulesInForce
from cilium_proxy.dns.questions import Question

Sink = Callable[[Iterable[access.Record]], None]
OBSERVED_BY = "proxy"
# A call for each record would cost more than all else that is done for a question.
TOGETHER_SECONDS = 0.05
MOST_TOGETHER = 256


class Records:
    """Makes records and gives them to a sink, those of a moment together. For one event loop."""

    def __init__(self, sink: Sink) -> None:
        """Use this sink."""
        self._sink = sink
        self._made: list[access.Record] = []

    def asked(self, rules: RulesInForce, flow: Flow, question: Question, *, allowed: bool) -> None:
        """Record a question that was let through or refused."""
        verdict = flow_pb.FORWARDED if allowed else flow_pb.DROPPED
        self._put(rules, flow, verdict, flow_pb.Layer7(type=flow_pb.REQUEST, dns=_asked(question)))

    def failed(self, rules: RulesInForce, flow: Flow, question: Question, seconds: float) -> None:
        """Record a question that was let through and got no answer."""
        l7 = flow_pb.Layer7(type=flow_pb.REQUEST, latency_ns=_ns(seconds), dns=_asked(question))
        self._put(rules, flow, flow_pb.ERROR, l7)

    def answered(
        self, rules: RulesInForce, flow: Flow, question: Question, answer: Answer, seconds: float
    ) -> None:
        """Record an answer; the latency is the server's."""
        dns = _asked(question)
        dns.ips.extend(map(str, answer.addresses))
        dns.ttl = answer.ttl
        dns.cnames.extend(answer.cnames)
        dns.rcode = answer.rcode
        dns.rrtypes.extend(answer.rrtypes)
        l7 = flow_pb.Layer7(type=flow_pb.RESPONSE, latency_ns=_ns(seconds), dns=dns)
        self._put(rules, flow, flow_pb.FORWARDED, l7)

    def _put(
        self, rules: RulesInForce, flow: Flow, verdict: flow_pb.Verdict, l7: flow_pb.Layer7
    ) -> None:
        record = access.Record(
            time_ns=time.time_ns(),
            source=str(flow.client.address),
            source_port=flow.client.port,
            destination=str(flow.server.address),
            destination_port=flow.server.port,
            direction=rules.direction,
            proxy_port=rules.port,
            verdict=verdict,
            l7=l7,
            protocol=flow.protocol,
            origins=rules.origins,
        )
        if not self._made:
            asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._give)
        self._made.append(record)
        if len(self._made) >= MOST_TOGETHER:
            self._give()

    def _give(self) -> None:
        made, self._made = self._made, []
        if made:
            self._sink(made)


def _asked(question: Question) -> flow_pb.DNS:
    return flow_pb.DNS(
        query=question.name, qtypes=[question.qtype_text], observation_source=OBSERVED_BY
    )


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
