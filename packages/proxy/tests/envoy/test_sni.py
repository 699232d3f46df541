# SPDX-License-Identifier: Apache-2.0
"""Server names through the real Envoy. The server echoes bytes: a hello that comes back passed."""

from __future__ import annotations

import ssl

import pytest
from proxy_fakes import http

from cilium_core.proto import flow_pb2
from cilium_core.proto import proxy_pb2 as pb

pytestmark = pytest.mark.root


def hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def passes(rig, data: bytes) -> bool:
    with rig.world.connect(8005) as connection:
        try:
            connection.sendall(data)
            return connection.recv(len(data)) == data
        except ConnectionError:
            return False


def names(*texts: str) -> list[pb.Rule]:
    return [pb.Rule(server_name=text) for text in texts]


def test_names_are_let_through_by_rule(rig):
    assert rig.put(5, *names("a.example", "*.b.example", "**.c.example"), kind=pb.SNI) == ""
    shown = {
        name: passes(rig, hello(name))
        for name in ("a.example", "A.EXAMPLE", "x.a.example", "x.b.example", "x.y.b.example")
    }
    assert shown == {
        "a.example": True,
        "A.EXAMPLE": True,
        "x.a.example": False,
        "x.b.example": True,
        "x.y.b.example": False,
    }
    assert passes(rig, hello("x.y.c.example"))
    assert not passes(rig, hello(None))
    assert not passes(rig, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")


def test_names_are_in_the_records(rig):
    assert rig.put(5, *names("seen.example"), kind=pb.SNI, origins=["CNP x"]) == ""
    passes(rig, hello("seen.example"))
    passes(rig, hello("unseen.example"))
    found = rig.records(lambda r: "seen.example" in r.l7.http.url, 2)
    shown = sorted((r.l7.http.url, r.verdict) for r in found)
    assert shown == [
        ("https://seen.example", flow_pb2.FORWARDED),
        ("https://unseen.example", flow_pb2.DROPPED),
    ]
    assert [list(r.origins) for r in found] == [["CNP x"], ["CNP x"]]


def test_everything_passes_where_a_rule_has_no_name(rig):
    assert rig.put(5, pb.Rule(), kind=pb.SNI) == ""
    assert passes(rig, hello("any.example"))
    assert passes(rig, b"no TLS at all")


def test_an_edit_leaves_the_connections_of_names_that_stay(rig):
    assert rig.put(5, *names("a.example"), kind=pb.SNI) == ""
    with rig.world.connect(8005) as connection:
        data = hello("a.example")
        connection.sendall(data)
        assert connection.recv(len(data)) == data
        assert rig.put(5, *names("a.example", "b.example"), kind=pb.SNI) == ""
        connection.sendall(b"more")
        assert connection.recv(10) == b"more"


def test_a_port_may_change_its_kind(rig):
    assert rig.put(6, *names("a.example"), kind=pb.SNI) == ""
    assert rig.put(6, http(path="/a")) == ""
    assert rig.world.get(6, "/a") == 200
