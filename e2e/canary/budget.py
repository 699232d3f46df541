# SPDX-License-Identifier: Apache-2.0
"""The loss budget, per kind of flow, and the judgement of a report against it.

This is the one place that says what the suite may lose. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """What one flow may lose over the whole suite, however long it runs.

    `lost` messages, `resets` of a held connection, and the longest silence in ms. A silence is
    judged after taking away how late the sender itself was at worst.
    """

    lost: int = 0
    resets: int = 0
    gap_ms: float = 1000.0


# Established TCP and UDP lose nothing, ever. A SYN or a DNS question that is lost shows as a try
# that failed; kinds that need a server process (CoreDNS, an HTTP answer) may miss one when that
# process is short of CPU.
BUDGETS: Mapping[str, Budget] = {
    "tcp-held": Budget(),
    "udp": Budget(),
    "tcp-new": Budget(),
    "http": Budget(),
    "service": Budget(),
    "dns": Budget(lost=2, gap_ms=3000.0),
}


@dataclass(frozen=True)
class Verdict:
    """One flow's line of the table; `failures` is empty when it kept its budget."""

    flow: Mapping[str, Any]
    failures: tuple[str, ...]


def judge(report: Mapping[str, Any], budgets: Mapping[str, Budget] = BUDGETS) -> list[Verdict]:
    """A verdict per flow. A flow that counted nothing at all has failed."""
    late = float(report["sender_late_ms"])
    return [
        Verdict(flow, tuple(_failures(flow, budgets[flow["kind"]], late)))
        for flow in report["flows"]
    ]


def _failures(flow: Mapping[str, Any], budget: Budget, late: float) -> Sequence[str]:
    failures = []
    if not flow["answered"]:
        failures.append("nothing was answered")
    if flow["lost"] > budget.lost:
        failures.append(f"lost {flow['lost']} (budget {budget.lost}): {flow['errors']}")
    if flow["resets"] > budget.resets:
        failures.append(f"{flow['resets']} resets (budget {budget.resets})")
    gap = flow["longest_gap_ms"] - late
    if gap > budget.gap_ms:
        failures.append(f"silent for {gap:.0f} ms (budget {budget.gap_ms:.0f})")
    return failures


def table(report: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The report as text, one line a flow, worst first."""
    head = f"{'flow':<22}{'sent':>8}{'answered':>10}{'lost':>6}{'late':>6}{'resets':>8}"
    lines = [
        f"canary: {report['seconds']} s, sender late by at most {report['sender_late_ms']} ms",
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
                for w in flow["worst"][:3]
            )
    return "\n".join(lines)
