# SPDX-License-Identifier: Apache-2.0
"""The loss budget, per kind of flow, and the judgement of a report against it.

This is the one place that says what the suite may lose. Pure.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from e2e.canary.flows import SHUT


@dataclass(frozen=True)
class Budget:
    """What one flow may lose over the whole suite, however long it runs.

    `lost` messages, `late` ones (a try that had to send again), `resets` of a held connection, and
    the longest silence in ms, the sender's own lack of CPU taken away.
    """

    lost: int = 0
    late: int = 0
    resets: int = 0
    gap_ms: float = 500.0


# Nothing between probes is ever lost, and no try needs a second SYN. The data path does not stop
# when something of ours dies, so a silence is somebody waiting for a CPU: the probes have real-time
# priority, but on two cores one may wait for several others of the load tests (slices of 100 ms)
# while the kernel works off a transfer of a gigabyte in between. Five slices are the bound for the
# whole suite; what the data path itself may stall, 200 ms, e2e/test_resilience.py asserts during
# its loads, in which nothing but the breakage runs. New sockets are sent twice a second: their
# silence counts from the second message that is missed.
# CoreDNS is no probe. It has ordinary priority beside builds and starting pods, nothing asks twice
# here, and its answers are lost when it is killed in the middle of one.
BUDGETS: Mapping[str, Budget] = {
    "tcp-held": Budget(),
    "udp": Budget(),
    "tcp-new": Budget(),
    "http": Budget(),
    "service": Budget(),
    "service-udp": Budget(),
    "dns": Budget(lost=4, late=10, gap_ms=2000.0),
    "shut-tcp": Budget(),  # of these only that none is answered is asked, see _failures
    "shut-udp": Budget(),
}


@dataclass(frozen=True)
class Verdict:
    """One flow's line of the table; `failures` is empty when it kept its budget."""

    flow: Mapping[str, Any]
    failures: tuple[str, ...]


class Ran(NamedTuple):
    """A test that ran, in seconds since the epoch."""

    name: str
    start: float
    stop: float


def judge(report: Mapping[str, Any], budgets: Mapping[str, Budget] = BUDGETS) -> list[Verdict]:
    """A verdict per flow. A flow that counted nothing at all has failed."""
    return [
        Verdict(flow, tuple(_failures(flow, budgets[flow["kind"]]))) for flow in report["flows"]
    ]


def _failures(flow: Mapping[str, Any], budget: Budget) -> Sequence[str]:
    if flow["kind"] in SHUT:
        if flow["answered"]:
            return [f"policy forbids it and it was reached {flow['answered']} times"]
        return [] if flow["sent"] else ["nothing was tried"]
    failures = []
    if not flow["answered"]:
        failures.append("nothing was answered")
    if flow["lost"] > budget.lost:
        failures.append(f"lost {flow['lost']} (budget {budget.lost}): {flow['errors']}")
    if flow["late"] > budget.late:
        failures.append(f"{flow['late']} answered late (budget {budget.late})")
    if flow["resets"] > budget.resets:
        failures.append(f"{flow['resets']} resets (budget {budget.resets})")
    gap = flow["longest_gap_ms"]
    if gap > budget.gap_ms:
        failures.append(f"silent for {gap:.0f} ms (budget {budget.gap_ms:.0f})")
    return failures


def failed(
    report: Mapping[str, Any], verdicts: Sequence[Verdict], ran: Sequence[Ran] = ()
) -> list[str]:
    """One line per flow that broke its budget, fit to end a log.

    It says when the flow's worst silence ended and which of the tests in `ran` ran meanwhile.
    """
    return [
        f"canary FAILED: {v.flow['name']}: {'; '.join(v.failures)}{_when(report, v.flow, ran)}"
        for v in verdicts
        if v.failures
    ]


def _when(report: Mapping[str, Any], flow: Mapping[str, Any], ran: Sequence[Ran]) -> str:
    if not flow["worst"]:
        return ""
    worst = flow["worst"][0]
    ended = report["now"] - worst["ago_s"]
    begun = ended - (worst["gap_ms"] + worst["starved_ms"]) / 1000
    names = dict.fromkeys(t.name for t in ran if t.start <= ended and begun <= t.stop)
    clock = time.strftime("%H:%M:%S", time.localtime(ended))
    return f"; worst silence ended {clock}" + (f" in {', '.join(names)}" if names else "")


def table(report: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The report as text, one line a flow, worst first."""
    head = f"{'flow':<22}{'sent':>8}{'answered':>10}{'lost':>6}{'late':>6}{'resets':>8}"
    lines = [
        f"canary: {report['seconds']} s, the sender was without CPU for at most"
        f" {report['sender_late_ms']} ms",
        head + f"{'gap ms':>9}",
    ]
    for verdict in sorted(verdicts, key=lambda v: (not v.failures, v.flow["name"])):
        flow = verdict.flow
        lines.append(
            f"{flow['name']:<22}{flow['sent']:>8}{flow['answered']:>10}{flow['lost']:>6}"
            f"{flow['late']:>6}{flow['resets']:>8}{flow['longest_gap_ms']:>9}"
            + ("  FAILED: " + "; ".join(verdict.failures) if verdict.failures else "")
        )
        if verdict.failures:
            lines.extend(
                f"    {w['gap_ms']} ms silent, ended {w['ago_s']} s ago, {w['lost']} lost"
                f" (and the sender without CPU for {w['starved_ms']} ms)"
                for w in flow["worst"][:3]
            )
    return "\n".join(lines)
