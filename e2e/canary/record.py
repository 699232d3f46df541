# SPDX-License-Identifier: Apache-2.0
"""What happened to one flow: a ledger of messages, and the longest silences.

Pure: the caller passes every time in (monotonic seconds). A message is counted from the moment it
is sent; it ends as answered or lost, once. Messages sent before `counts_from` (the warm-up) are
not in the ledger, and neither are their answers.

Times in which the process itself had no CPU are taken away from each silence and from each
message's age, and only from those that they lie in: being late once excuses nothing later.
"""

import heapq
from dataclasses import dataclass
from typing import Any

from e2e.canary.starvation import Starvation

# A SYN that was lost is sent again after one second, so a try that took this long lost a packet.
LATE_SECONDS = 0.9
WORST = 5


@dataclass(frozen=True, order=True)
class Window:
    """A silence: `gap_ms` without an answer beyond the schedule's own period and `starved_ms`.

    It ended `at` (monotonic seconds); `lost` is how many messages had been lost by then since the
    last answer before it; for `starved_ms` of it the sender had no CPU.
    """

    gap_ms: float
    at: float
    lost: int
    starved_ms: float


class Record:
    """The ledger of one flow that sends every `period` seconds.

    Messages are numbered by the caller, rising. `deadline` in seconds is when an unanswered one
    is lost (None: only a broken connection loses it, as for a stream). `starvation` is the
    process's own.
    """

    def __init__(
        self,
        period: float,
        deadline: float | None,
        counts_from: float,
        starvation: Starvation | None = None,
    ) -> None:
        self.sent = self.answered = self.lost = self.late = self.resets = 0
        self._period = period
        self._deadline = deadline
        self._counts_from = counts_from
        self._starvation = starvation or Starvation()
        self._pending: dict[int, float] = {}
        self._last_answer = counts_from
        self._lost_before_answer = 0
        self._worst: list[Window] = []
        self._errors: dict[str, int] = {}

    def send(self, number: int, now: float) -> None:
        """Message `number` goes out now; older ones past the deadline are lost."""
        if now < self._counts_from:
            return
        self.sent += 1
        self._pending[number] = now
        self.expire(now)

    def answer(self, number: int, now: float) -> None:
        """The answer to `number` is here. One for a message already lost counts for nothing."""
        begun = self._pending.pop(number, None)
        if begun is None:
            return
        age = self._age(begun, now)
        if self._deadline is not None and age > self._deadline:
            self._count_loss(1, "no answer")
            return
        self.answered += 1
        if age > LATE_SECONDS:
            self.late += 1
        self._end_window(now)

    def lose(self, number: int, now: float, error: str) -> None:
        """Message `number` failed with an error; nothing will answer it."""
        if self._pending.pop(number, None) is not None and now >= self._counts_from:
            self._count_loss(1, error)

    def reset(self, now: float, error: str) -> None:
        """The flow's connection broke: every message that is not answered is lost."""
        if now < self._counts_from:
            self._pending.clear()
            return
        self.resets += 1
        self._count_loss(len(self._pending), error)
        self._pending.clear()

    def expire(self, now: float) -> None:
        """Lose what is past the deadline."""
        if self._deadline is None:
            return
        while self._pending:
            number = next(iter(self._pending))
            if self._age(self._pending[number], now) <= self._deadline:
                return
            del self._pending[number]
            self._count_loss(1, "no answer")

    def as_json(self, now: float) -> dict[str, Any]:
        """Totals and the worst windows up to now; a silence that still lasts is one of them.

        `ago_s` says how long before `now` a window ended.
        """
        self.expire(now)
        worst = sorted([*self._worst, self._window(now)], reverse=True)[:WORST]
        return {
            "sent": self.sent,
            "answered": self.answered,
            "lost": self.lost,
            "late": self.late,
            "resets": self.resets,
            "waiting": len(self._pending),
            "longest_gap_ms": worst[0].gap_ms,
            "errors": dict(self._errors),
            "worst": [
                {
                    "gap_ms": w.gap_ms,
                    "ago_s": round(now - w.at, 3),
                    "lost": w.lost,
                    "starved_ms": w.starved_ms,
                }
                for w in worst
                if w.gap_ms > 0
            ],
        }

    def _count_loss(self, count: int, error: str) -> None:
        self.lost += count
        self._lost_before_answer += count
        self._errors[error] = self._errors.get(error, 0) + max(count, 1)

    def _age(self, begun: float, now: float) -> float:
        return now - begun - self._starvation.within(begun, now)

    def _window(self, now: float) -> Window:
        begun = max(self._last_answer, self._counts_from)
        starved = self._starvation.within(begun, now)
        gap = max(0.0, now - begun - self._period - starved)
        return Window(round(gap * 1000, 1), now, self._lost_before_answer, round(starved * 1000, 1))

    def _end_window(self, now: float) -> None:
        window = self._window(now)
        self._last_answer = now
        self._lost_before_answer = 0
        if len(self._worst) < WORST:
            heapq.heappush(self._worst, window)
        else:
            heapq.heappushpop(self._worst, window)
