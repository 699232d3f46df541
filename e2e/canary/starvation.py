# SPDX-License-Identifier: Apache-2.0
"""When this process itself could not run, so that a starved machine is no broken network.

Pure: the caller passes every time in (monotonic seconds). Each task that wakes on a schedule says
when it is due and when it ran; from the first to the second nothing in the process ran. With some
hundred wake-ups a second hardly a moment of starvation stays unseen. One event loop.
"""

from collections import deque

# Less than this is the event loop's own business, and no silence that is judged is that short.
LEAST_SECONDS = 0.02
KEPT = 4096


class Starvation:
    """The moments without CPU, as intervals that do not touch, oldest first."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._due: dict[object, float] = {}
        self._intervals: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def expect(self, task: object, due: float) -> None:
        """The task sleeps until `due`."""
        self._due[task] = due

    def ran(self, task: object, now: float) -> None:
        """The task that was due runs."""
        due = self._due.pop(task, now)
        if now - due < LEAST_SECONDS:
            return
        self.worst_ms = max(self.worst_ms, round((now - due) * 1000, 1))
        while self._intervals and self._intervals[-1][1] >= due:
            due = min(due, self._intervals.pop()[0])
        self._intervals.append((due, now))

    def within(self, start: float, end: float) -> float:
        """Seconds of starvation between two times.

        A task that is overdue at `end` counts too: when the process runs again, answers that came
        meanwhile may be read before any task is.
        """
        overdue = min(self._due.values(), default=end)
        seconds, until = 0.0, end
        if end - overdue >= LEAST_SECONDS:
            until = max(overdue, start)
            seconds = end - until
        for begun, ended in reversed(self._intervals):
            if ended <= start:
                break
            seconds += max(0.0, min(ended, until) - max(begun, start))
        return seconds
