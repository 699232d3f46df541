# SPDX-License-Identifier: Apache-2.0
"""What happens when processes die, and when Envoy says no."""

from __future__ import annotations

import signal
import socket
import stat
import time

import pytest
from envoy_world import ask
from proxy_fakes import FakeAgent, http

pytestmark = pytest.mark.root


def test_sockets_are_for_their_owner_alone(rig):
    assert rig.put(1, http(path="/a")) == ""
    for path in (rig.world.folder / "envoy" / "sockets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_thousand_rule_sets_at_once_do_not_break_the_stream(rig):
    """Envoy answers each with a few bytes; what gRPC then gives back is no flood."""
    numbers = range(100, 1100)
    revisions = {n: rig.begin(n, http(path="/a")) for n in numbers}
    for n, revision in revisions.items():
        assert rig.settled(n, revision) == ""
    for n in numbers:
        rig.remove(n)


def test_a_dead_controller_changes_nothing_and_the_next_one_goes_on(rig):
    assert rig.put(1, http(path="/a")) == ""
    connection = rig.world.http(1)
    rig.world.kill("controller")
    revision = rig.begin(1, http(path="/b"))
    assert ask(connection, "/a")[0] == 200
    assert rig.world.get(1, "/a") == 200
    rig.world.start_controller()
    assert rig.settled(1, revision) == ""
    assert ask(connection, "/a")[0] == 403
    assert ask(connection, "/b")[0] == 200


@pytest.mark.parametrize("remembers", [True, False])
def test_a_controller_that_starts_without_an_agent_wipes_nothing(rig, remembers):
    assert rig.put(1, http(path="/a")) == ""
    connection = rig.world.http(1)
    rig.wait(rig.agent.__aexit__())
    assert rig.world.kill("controller", signal.SIGTERM) == 0
    if not remembers:
        (rig.world.folder / "envoy" / "rules").unlink()
    rig.world.start_controller()
    marks = rig.world.log("controller").count("Envoy is here")
    rig.world.until(lambda: rig.world.log("controller").count("Envoy is here") > marks)
    time.sleep(0.3)
    assert ask(connection, "/a")[0] == 200
    assert rig.world.get(1, "/a") == 200
    sets = rig.agent.sets.values()
    rig.agent = FakeAgent(rig.world.folder / "proxies.sock", *sets)
    rig.wait(rig.agent.__aenter__())
    for entry in sets:  # nothing differs, and the new agent hears so
        assert rig.wait(rig.agent.result(entry.port, entry.revision)).error == ""
    assert ask(connection, "/a")[0] == 200


def test_a_new_envoy_gets_everything_without_the_agent(rig):
    assert rig.put(1, http(path="/a")) == ""
    rig.wait(rig.agent.__aexit__())
    rig.world.kill("envoy")
    rig.world.start_envoy()
    rig.world.until(lambda: rig.world.get(1, "/a") == 200)
    rig.agent = FakeAgent(rig.world.folder / "proxies.sock", *rig.agent.sets.values())
    rig.wait(rig.agent.__aenter__())


def test_what_envoy_refuses_is_told_and_the_last_rules_hold_in_the_next_envoy_too(rig):
    assert rig.put(1, http(path="/a"), name="web") == ""
    connection = rig.world.http(1)
    bad = {"name": "x\ny", "value": "1", "mismatch": "REPLACE"}
    error = rig.put(1, http(path="/b", header_matches=[bad]), name="web")
    assert error.startswith("rule set web on port 10001: ")
    assert ask(connection, "/a")[0] == 200
    rig.world.kill("envoy")
    rig.world.start_envoy()
    rig.world.until(lambda: rig.world.get(1, "/a") == 200)
    assert rig.put(1, http(path="/b")) == ""
    assert rig.world.get(1, "/b") == 200


def test_a_port_that_is_taken_is_told_and_taken_later(rig):
    def hold() -> socket.socket:
        made = socket.socket()
        made.bind(("127.0.0.1", 10009))
        made.listen()
        return made

    holder = rig.world._in("node", hold)
    revision = rig.begin(9, http(path="/a"))
    assert "Address already in use" in rig.settled(9, revision)
    assert rig.put(1, http(path="/a")) == ""
    holder.close()
    rig.world.until(lambda: rig.settled(9, revision) == "")
    assert rig.world.get(9, "/a") == 200
    rig.remove(9)
