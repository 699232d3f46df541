# SPDX-License-Identifier: Apache-2.0
"""A step fails alone, is told once, and is tried again in good time."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from cilium_agent import steps
from cilium_agent.errors import AgentError, StartOver
from cilium_agent.state import Outcome
from cilium_agent.steps import Step


class Work:
    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


async def until_due(step: Step) -> float:
    """Wait until the step may run; return how long that took."""
    start = asyncio.get_running_loop().time()
    while (wait := step.due()) != 0.0:
        assert wait is not None
        await asyncio.sleep(wait)
    return asyncio.get_running_loop().time() - start


async def test_runs_when_wanted_only() -> None:
    work, outcome = Work(), Outcome()
    step = Step("x", work, outcome)
    await step.run()  # the first time it always is
    await step.run()
    assert (work.runs, step.due()) == (1, None)
    step.want()
    await step.run()
    assert (work.runs, outcome.successes) == (2, 2)


async def test_a_failure_is_told_once_and_tried_again_later_and_later() -> None:
    refused = [AgentError("no room") for _ in range(4)]
    work, outcome = Work(*refused, KeyError("other")), Outcome()
    step = Step("x", work, outcome)
    waits = []
    with capture_logs() as logs:
        for _ in range(5):
            await step.run()
            await step.run()  # too early
            waits.append(await until_due(step))
        await step.run()
    assert (work.runs, outcome.failures, outcome.consecutive_failures) == (6, 5, 0)
    assert [entry["error"] for entry in logs] == ["no room", "'other'"]
    assert [bool(entry["exc_info"]) for entry in logs] == [False, True]
    assert waits[0] < 0.3
    assert waits[3] > 0.7
    assert step.due() is None


async def test_a_change_hastens_the_next_attempt_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "SPACING_SECONDS", 0.1)
    work = Work(*[AgentError("no room") for _ in range(9)])
    step = Step("x", work, Outcome())
    for _ in range(5):
        await step.run()
        step.want()
        await until_due(step)
    await step.run()
    due = step.due()
    assert due is not None
    assert due > 1.0, "by itself it would wait for long now"
    step.want()
    hastened = step.due()
    assert hastened is not None
    assert 0.0 < hastened <= 0.1


async def test_starting_over_is_for_all_to_see() -> None:
    step = Step("x", Work(StartOver("other CIDRs")), Outcome())
    with pytest.raises(StartOver):
        await step.run()
