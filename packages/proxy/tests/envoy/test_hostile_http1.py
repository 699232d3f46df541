# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 as a hostile client speaks it, through the real Envoy: what the server saw, what the
client was answered, what the records say."""

from __future__ import annotations

from typing import Any

import pytest
from http1_cases import CASES, RULES, verdicts
from side_by_side import Found, run, statuses

pytestmark = pytest.mark.root
ADDED = {"x-forwarded-proto", "x-request-id"}  # by the proxy, as upstream's does


@pytest.fixture(scope="module")
def found(rig: Any) -> dict[str, Found]:
    """Every case, all at once: about two seconds for any number of them."""
    assert rig.put(7, *RULES) == ""
    return run(rig, {name: case.sends for name, case in CASES.items()})


@pytest.mark.parametrize("name", CASES)
def test_case(found: dict[str, Found], name: str) -> None:
    case, became = CASES[name], found[name]
    assert became.seen.strange == []
    assert became.seen.lines == list(case.seen)
    assert statuses(became.answers) == list(case.answered)
    assert [line.split()[0] for line in became.told()] == verdicts(case)
    if case.body:
        assert became.seen.bodies[0] == case.body
    for name, value in case.shown.items():
        assert dict(became.seen.headers[0]).get(name) == value


def test_what_the_rules_forbid_is_never_seen(found: dict[str, Found]) -> None:
    seen = [line for became in found.values() for line in became.seen.lines]
    assert len(seen) > 40
    assert not [line for line in seen if line.startswith("GET /admin")]


def test_records_name_what_the_server_saw(found: dict[str, Found]) -> None:
    for name, became in found.items():
        passed = [t.removeprefix("FORWARDED ") for t in became.told() if t.startswith("FORWARDED")]
        for line in became.seen.lines:
            assert line in passed, name


def test_the_proxy_adds_two_headers(found: dict[str, Found]) -> None:
    names = {name for name, _ in found["exact"].seen.headers[0]}
    assert names == {"host", *ADDED}


def test_commands_to_envoy_go_no_further(found: dict[str, Found]) -> None:
    names = {name for name, _ in found["commands to Envoy"].seen.headers[0]}
    assert not names & {"x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on"}


def test_answers_are_the_servers_own(found: dict[str, Found]) -> None:
    lines = found["exact"].answers.split(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 200 ok"
    assert {line.partition(b":")[0] for line in lines[1:]} == {
        b"server",
        b"content-length",
        b"date",
    }
    assert b"server: mine" in lines
    assert b"server:" not in found["method"].answers.lower()  # nor does a refusal name one
