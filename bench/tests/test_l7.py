# SPDX-License-Identifier: Apache-2.0
"""What load generators print, as numbers; the rival's configuration; figures out of samples."""

import json

import pytest

from bench import l7, l7_load
from bench.l7_node import MANY, ONE, PATH, ROUTES, STOCK, UNRECORDED, rule_set
from bench.l7_stock import config

WRK = """Running 1s test @ http://10.0.0.12:8002/r999
  160891 requests in 1.00s, 6.14MB read
{errors}Requests/sec: {rate}
Transfer/sec:      6.13MB
"""
H2LOAD = """finished in 1.00s, {rate} req/s, 15.74MB/s
requests: 100 total, 100 started, 100 done, {good} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, {four} 4xx, 0 5xx
"""


def test_rates_of_both() -> None:
    assert l7_load.wrk_rate(WRK.format(errors="", rate=160616.35)) == 160616.35
    assert l7_load.h2load_rate(H2LOAD.format(rate="787.5", good=100, failed=0, four=0)) == 787.5


@pytest.mark.parametrize(
    "errors",
    ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"],
)
def test_errors_of_wrk_are_no_rate(errors: str) -> None:
    with pytest.raises(l7_load.Failed, match="responses: 3|read 1"):
        l7_load.wrk_rate(WRK.format(errors=errors, rate=1.0))


@pytest.mark.parametrize(("failed", "four"), [(1, 0), (0, 1)])
def test_errors_of_h2load_are_no_rate(failed: int, four: int) -> None:
    text = H2LOAD.format(rate="787.5", good=99, failed=failed, four=four)
    with pytest.raises(l7_load.Failed):
        l7_load.h2load_rate(text)


@pytest.mark.parametrize("text", ["", WRK.format(errors="", rate="0.00")])
def test_no_rate(text: str) -> None:
    with pytest.raises(l7_load.Failed, match="no rate"):
        l7_load.wrk_rate(text)


@pytest.mark.parametrize("routes", [1, ROUTES])
def test_the_path_that_is_asked_for_is_allowed_by_each_rule_set(routes: int) -> None:
    paths = [rule.http.path for rule in rule_set(ONE, routes).rules]
    assert len(set(paths)) == routes
    assert paths[-1] == PATH


def test_the_rival_differs_by_records_and_rules_alone() -> None:
    text = config(1, 2, rule_set(UNRECORDED, 1), "/run/admin.sock")
    listeners = json.loads(text)["static_resources"]["listeners"]
    assert len(listeners) == 3
    assert all(one["transparent"] for one in listeners)
    assert "access_log" not in json.dumps(listeners)
    assert PATH in json.dumps(listeners[2])
    assert PATH not in json.dumps(listeners[:2])


def test_figures() -> None:
    sheet = l7.Sheet()
    for kind in l7.KINDS:
        for path, value in ((STOCK, 100.0), (ONE, 95.0), (MANY, 50.0)):
            sheet.rates[kind, path] = [value] * 3
            cost = sheet.costs[kind, path] = l7.Cost()
            for _ in range(2):
                spent = {"stock": 0.001, "envoy": 0.002, "controller": 0.003, "hubble": 0.0}
                cost.add(100.0, spent, lost=20.0)
    found = {result.name: result for result in sheet.results()}
    ours = found[f"{l7_load.KEPT}: {l7.NAMES[ONE]}"]
    assert (ours.value, ours.met) == (0.95, True)
    flat = found[f"{l7_load.KEPT}: {ROUTES} exact routes against 1"]
    assert flat.met is False
    assert found[f"{l7_load.TWO}: CPU of a request, controller"].value == 30.0
    assert found[f"{l7_load.NEW}: records lost"].value == 0.1
