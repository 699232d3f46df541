# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as a hostile client speaks it, through the real Envoy, and what a flood costs."""

from __future__ import annotations

from typing import Any

import pytest
from http2_cases import CASES, RULES
from http2_frames import BEGIN, outcomes, request
from side_by_side import Found, run

pytestmark = pytest.mark.root
MOST_BYTES = 64 << 20  # for all floods together, which sent 20 MiB


@pytest.fixture(scope="module")
def found(rig: Any) -> dict[str, Found]:
    """Every case, all at once."""
    assert rig.put(7, *RULES) == ""
    rig.before = rig.memory()
    return run(rig, {name: case.sends for name, case in CASES.items()})


@pytest.mark.parametrize("name", CASES)
def test_case(found: dict[str, Found], name: str) -> None:
    case, became = CASES[name], found[name]
    assert became.seen.lines == list(case.seen)
    assert outcomes(became.answers) + ["closed"] * became.closed == list(case.became)
    assert [line.split()[0] for line in became.told()] == list(case.told)


def test_the_authority_is_the_one_that_was_judged(found: dict[str, Found]) -> None:
    fields = found["host beside the allowed authority"].seen.headers[0]
    assert [value for name, value in fields if name in (":authority", "host")] == ["api.example"]


def test_floods_leave_envoy_as_it_was(rig: Any, found: dict[str, Found]) -> None:
    assert rig.memory() - rig.before < MOST_BYTES
    assert rig.world.processes["envoy"].poll() is None
    later = run(rig, {"later": (BEGIN + request(),)})["later"]
    assert outcomes(later.answers) == ["1: 200"]
