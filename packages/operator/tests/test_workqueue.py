# SPDX-License-Identifier: Apache-2.0
"""The queue: one wait per name, retries after refusals, other errors end it."""

from __future__ import annotations

import asyncio

import pytest

from cilium_operator.errors import ApiError
from cilium_operator.metrics import Metrics
from cilium_operator.workqueue import WorkQueue


async def test_names_wait_once_and_are_tried_again() -> None:
    metrics = Metrics()
    queue = WorkQueue("test", metrics)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)
        if done.count(key) == 1:
            raise ApiError(500, "InternalError", "again", key)
        if done.count("a") == 2 and done.count("b") == 2:
            raise KeyError("end")

    for key in ("a", "b", "a"):
        queue.add(key)
    with pytest.raises(KeyError):
        async with asyncio.timeout(5):
            await queue.run(work)
    assert done[:2] == ["a", "b"]
    assert sorted(done) == ["a", "a", "b", "b"]
    assert b'cilium_operator_workqueue_retries_total{queue_name="test"} 2.0' in metrics.text()
