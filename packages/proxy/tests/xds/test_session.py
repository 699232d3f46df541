# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.service.discovery.v3 import discovery_pb2 as pb

from cilium_proxy.translate.messages import resource
from cilium_proxy.translate.naming import LISTENER, ROUTES
from cilium_proxy.xds.session import Session
from cilium_proxy.xds.table import Answer, Table


def made(name: str, content: str = "one"):
    return resource(name, listener_pb2.Listener(name=name, stat_prefix=content))


@pytest.fixture
def table():
    table = Table()
    for name in ("1", "2"):
        table.put(LISTENER, made(name))
        table.put(ROUTES, made(name))
    table.ready = True
    return table


def ask(type_url=LISTENER, *names, has=None):
    return pb.DeltaDiscoveryRequest(
        type_url=type_url, resource_names_subscribe=names, initial_resource_versions=has or {}
    )


def acknowledge(session, response, error=""):
    request = pb.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
    if error:
        request.error_detail.message = error
    return session.receive(request)


def named(responses):
    return [
        (r.type_url, [e.name for e in r.resources], list(r.removed_resources)) for r in responses
    ]


def test_nothing_is_said_before_it_is_known_what_to_say(table):
    table.ready = False
    session = Session(table)
    session.receive(ask(has={"9": "x", "1": made("1").version}))
    assert list(session.responses()) == []
    assert session.has() == []
    table.ready = True
    assert session.has() == [Answer(LISTENER, "1", made("1").version)]
    table.answered(Answer(LISTENER, "1", made("1").version))
    assert named(session.responses()) == [(LISTENER, ["2"], []), (LISTENER, [], ["9"])]
    assert session.has() == []


def test_each_resource_has_a_response_of_its_own_and_comes_once(table):
    session = Session(table)
    session.receive(ask())
    responses = list(session.responses())
    assert named(responses) == [(LISTENER, ["1"], []), (LISTENER, ["2"], [])]
    assert list(session.responses()) == []
    assert acknowledge(session, responses[0]) == Answer(LISTENER, "1", made("1").version)
    assert list(session.responses()) == []


def test_routes_come_when_they_are_asked_for_and_are_never_taken_away(table):
    session = Session(table)
    session.receive(ask())
    list(session.responses())
    session.receive(ask(ROUTES, "2", "7"))
    assert named(session.responses()) == [(ROUTES, ["2"], [])]
    table.put(ROUTES, made("7"))
    assert named(session.responses()) == [(ROUTES, ["7"], [])]
    for type_url in (LISTENER, ROUTES):
        table.remove(type_url, "2")
    assert named(session.responses()) == [(LISTENER, [], ["2"])]
    session.receive(pb.DeltaDiscoveryRequest(type_url=ROUTES, resource_names_unsubscribe=["2"]))
    assert list(session.responses()) == []


def test_routes_that_envoy_kept_are_known_when_they_are_wanted_again(table):
    """A rule set that goes and comes back within Envoy's drain time is in force again."""
    session = Session(table)
    session.receive(ask(ROUTES, "1"))
    (response,) = session.responses()
    table.answered(acknowledge(session, response))
    table.remove(ROUTES, "1")
    assert list(session.responses()) == session.has() == []
    table.put(ROUTES, made("1"))
    assert list(session.responses()) == []
    assert session.has() == [Answer(ROUTES, "1", made("1").version)]


def test_routes_that_are_asked_for_again_are_sent_again(table):
    session = Session(table)
    session.receive(ask(ROUTES, "2"))
    list(session.responses())
    session.receive(ask(ROUTES, "2"))
    assert named(session.responses()) == [(ROUTES, ["2"], [])]


def test_what_is_refused_gives_way_to_what_was_taken(table):
    session = Session(table)
    session.receive(ask())
    for response in session.responses():
        table.answered(acknowledge(session, response))
    table.put(LISTENER, made("1", "bad"))
    (response,) = session.responses()
    answer = acknowledge(session, response, "no such thing")
    assert answer == Answer(LISTENER, "1", made("1", "bad").version, "no such thing")
    table.answered(answer)
    assert table.wanted(LISTENER)["1"] == made("1")
    assert list(session.responses()) == []
    fresh = Session(table)
    fresh.receive(ask())
    assert named(fresh.responses())[0] == (LISTENER, ["1"], [])


def test_what_is_refused_at_first_is_not_offered_to_the_next(table):
    session = Session(table)
    session.receive(ask())
    first, _ = session.responses()
    table.answered(acknowledge(session, first, "in use"))
    assert list(table.wanted(LISTENER)) == ["2"]
    assert list(session.responses()) == []
    table.put(LISTENER, made("1"))  # tried again
    assert named(session.responses()) == [(LISTENER, ["1"], [])]


def test_a_late_answer_to_an_older_version_changes_nothing(table):
    session = Session(table)
    session.receive(ask())
    first, _ = session.responses()
    table.put(LISTENER, made("1", "newer"))
    (second,) = session.responses()
    table.answered(acknowledge(session, first, "bad"))
    assert table.wanted(LISTENER)["1"] == made("1", "newer")
    table.answered(acknowledge(session, second))
    assert table.taken(LISTENER, "1", made("1", "newer").version)
