# SPDX-License-Identifier: Apache-2.0
"""Envoy itself against the policy engine, on random rules and requests over one connection."""

from __future__ import annotations

import json

import pytest
from envoy_world import World
from http_model import Outcome, Request, judge, requests_, rules_
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy_fakes import rule_set

pytestmark = pytest.mark.root
SHOWN = ("x-one", "x-two")


def really(connection, request: Request) -> Outcome:
    connection.request(
        request.method, request.path, headers={"Host": request.host, **request.headers}
    )
    response = connection.getresponse()
    body = response.read()
    if response.status == 403:
        assert body == b"Access denied\r\n"
        return Outcome(False, request.headers)
    assert response.status == 200
    found: dict[str, str] = {}
    for name, value in json.loads(body)["headers"]:
        if (lower := name.lower()) in SHOWN:
            found[lower] = f"{found[lower]},{value}" if lower in found else value
    return Outcome(True, found)


# What Envoy makes of a path before it looks at rules; the server gets it so.
RESOLVED = {"/a/%2e%2e%5Cb": "/a/..%5Cb", "/a/..;x/b": "/b"}


def seen(request: Request) -> Request:
    return request._replace(path=RESOLVED.get(request.path, request.path))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(rules_, max_size=5),
    st.booleans(),
    st.lists(requests_, min_size=5, max_size=12),
)
def test_envoy_does_what_the_rules_say_one_by_one(rig, rules, everything, requests):
    made = rule_set(10003, 1, rules, everything=everything)
    assert rig.put(3, *rules, everything=everything) == ""
    connection = open_connection(rig.world)
    for request in requests:
        assert really(connection, request) == judge(made, seen(request)), request


_open = []


def open_connection(world: World):
    if not _open:
        _open.append(world.http(3))
    return _open[0]
