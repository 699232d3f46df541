# SPDX-License-Identifier: Apache-2.0
"""HTTP through the real Envoy: what rules allow, and that the proxy is not there otherwise."""

from __future__ import annotations

import contextlib
import json
import sys

import pytest
from envoy_world import CLIENT, CLIENT6, SERVER, SERVER6, ask
from proxy_fakes import http

from cilium_core.proto import flow_pb2

pytestmark = pytest.mark.root
DENIED = (403, b"Access denied\r\n")


def told(body: bytes) -> dict:
    found = json.loads(body)
    found["headers"] = {name.lower(): value for name, value in found["headers"]}
    return found


def test_requests_are_allowed_or_refused_on_one_connection(rig):
    assert rig.put(1, http(method="GET", path="/a"), http(path="/b/.*")) == ""
    connection = rig.world.http(1)
    assert ask(connection, "/a")[0] == 200
    assert ask(connection, "/a", "PUT") == DENIED
    assert ask(connection, "/b/c", "PUT")[0] == 200
    assert ask(connection, "/c") == DENIED


@pytest.mark.parametrize(("client", "server"), [(CLIENT, SERVER), (CLIENT6, SERVER6)])
def test_the_server_sees_the_pod_and_a_port_of_the_proxys(rig, client, server):
    assert rig.put(1, http(path="/a")) == ""
    status, body = ask(rig.world.http(1, host=server), "/a", x_forwarded_for="1.2.3.4")
    found = told(body)
    address, port = found["peer"]
    assert status == 200
    assert address.removeprefix("::ffff:") == client
    assert 61000 <= port <= 65535
    assert found["headers"]["x-forwarded-for"] == "1.2.3.4"


def test_connections_that_come_and_go_use_up_no_ports(rig):
    """Of each of Envoy's two workers the server sees one connection, however many clients open."""
    assert rig.put(1, http(path="/a")) == ""
    seen = set()
    for _ in range(20):
        connection = rig.world.http(1)
        status, body = ask(connection, "/a")
        assert status == 200
        seen.add(told(body)["peer"][1])
        connection.close()
    assert len(seen) <= 2


def test_an_edit_binds_the_next_request_on_an_open_connection(rig):
    assert rig.put(1, http(path="/a")) == ""
    connection = rig.world.http(1)
    port = told(ask(connection, "/a")[1])["peer"][1]
    assert ask(connection, "/b") == DENIED
    assert rig.put(1, http(path="/b")) == ""
    assert ask(connection, "/a") == DENIED
    status, body = ask(connection, "/b")
    assert (status, told(body)["peer"][1]) == (200, port)


def test_what_everyone_may_is_only_looked_at(rig):
    assert rig.put(1, http(path="/a"), everything=True) == ""
    assert rig.world.get(1, "/whatever") == 200


def test_headers_are_changed_as_rules_ask(rig):
    changes = [
        {"name": "X-One", "value": "1", "mismatch": "ADD"},
        {"name": "X-Two", "value": "50%", "mismatch": "REPLACE"},
        {"name": "X-Three", "value": "3", "mismatch": "DELETE"},
    ]
    assert rig.put(1, http(path="/a", header_matches=changes)) == ""
    connection = rig.world.http(1)
    found = told(ask(connection, "/a", X_Two="2", X_Three="4")[1])["headers"]
    assert (found["x-one"], found["x-two"]) == ("1", "50%")
    assert "x-three" not in found
    found = told(ask(connection, "/a", X_One="1", X_Three="3")[1])["headers"]
    assert (found["x-one"], found["x-three"]) == ("1", "3")


def test_paths_reach_the_server_as_they_were_matched(rig):
    assert rig.put(1, http(path="/pub/.*")) == ""
    connection = rig.world.http(1)
    assert told(ask(connection, "/x/../pub/./a")[1])["line"] == "GET /pub/a HTTP/1.1"
    assert told(ask(connection, "/pub/a%2Fb//c")[1])["line"] == "GET /pub/a%2Fb//c HTTP/1.1"
    for path in ("/pub/../x", "/pub/%2e%2e/x", "/pub/..%2fx", "/pub/%2e%2e%5Cx", "/pub/..;/x"):
        assert ask(connection, path) == DENIED


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1",
        "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        "Content-Length: 3, 5\r\n\r\nabc",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_request_that_two_could_read_differently_is_refused(rig, lines):
    assert rig.put(1, http(path="/a")) == ""
    with rig.world.connect(8001) as connection:
        connection.sendall(f"POST /a HTTP/1.1\r\nHost: x\r\n{lines}".encode())
        assert connection.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))


def test_a_websocket_stays_open(rig):
    assert rig.put(1, http(path="/socket")) == ""
    with rig.world.connect(8001) as connection:
        connection.sendall(
            b"GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
        for text in (b"one", b"two"):
            connection.sendall(text)
            assert connection.recv(100) == text
        (record,) = rig.records(lambda r: r.l7.http.url.endswith("/socket"), 1)
        assert record.l7.type == flow_pb2.REQUEST


def test_a_large_body_is_not_kept(rig):
    assert rig.put(1, http(path="/big")) == ""
    connection, size = rig.world.http(1), 300 << 20
    before = rig.memory()
    connection.request(
        "PUT",
        "/big",
        body=(b"x" * (1 << 20) for _ in range(300)),
        headers={"Content-Length": str(size)},
    )
    assert told(connection.getresponse().read())["size"] == size
    assert rig.memory() - before < 60 << 20


GRPC = """
import grpc, sys, time
channel = grpc.insecure_channel("%s:8004")
def words():
    yield b"a"
    time.sleep(%s)
    yield b"b"
print(list(channel.stream_stream("/test.Echo/Stream")(words())))
try:
    print(channel.unary_unary("/test.Echo/Once")(b"x"))
except grpc.RpcError as error:
    print(error.code().name)
"""


def grpc_client(rig, seconds: float) -> str:
    return rig.world.inside("client", sys.executable, "-c", GRPC % (SERVER, seconds))


def test_grpc_is_a_path_on_http2(rig):
    rig.hubble.records.clear()
    assert rig.put(4, http(path="/test.Echo/Stream")) == ""
    assert grpc_client(rig, 0) == "[b'a', b'b']\nPERMISSION_DENIED\n"
    assert rig.put(4, http(path="/test.Echo/.*")) == ""
    assert grpc_client(rig, 0) == "[b'a', b'b']\nb'x'\n"
    rig.records(lambda r: r.l7.http.url.endswith("/Stream"), 4)


def test_a_long_stream_is_shown_once_and_before_its_end(rig):
    assert rig.put(4, http(path="/test.Echo/Stream")) == ""
    rig.hubble.records.clear()
    grpc_client(rig, 2.5)
    found = rig.records(lambda r: r.l7.http.url.endswith("/Stream"), 2)
    assert [r.l7.type for r in found] == [flow_pb2.REQUEST, flow_pb2.RESPONSE]
    assert found[0].l7.http.protocol == "HTTP/2"


def test_records_tell_what_was_asked_and_answered(rig):
    assert rig.put(1, http(method="GET", path="/a.*"), origins=["CNP shop/web x"]) == ""
    rig.hubble.records.clear()
    connection = rig.world.http(1)
    port = connection.sock.getsockname()[1]
    ask(connection, "/a?b=c")
    ask(connection, "/a", "PURGE")
    found = rig.records(lambda r: r.source_port == port, 3)
    shown = [(r.verdict, r.l7.type, r.l7.http.method, r.l7.http.code) for r in found]
    assert shown == [
        (flow_pb2.FORWARDED, flow_pb2.REQUEST, "GET", 0),
        (flow_pb2.FORWARDED, flow_pb2.RESPONSE, "GET", 200),
        (flow_pb2.DROPPED, flow_pb2.REQUEST, "PURGE", 0),
    ]
    assert found[0].l7.http.url == f"http://{SERVER}:8001/a?b=c"
    assert (found[0].source, found[0].destination) == (CLIENT, SERVER)
    assert found[0].request_id == found[1].request_id != ""
    assert (found[0].proxy_port, found[0].direction) == (10001, 2)
    assert list(found[0].origins) == ["CNP shop/web x"]


def test_a_connection_to_the_listener_itself_is_closed(rig):
    assert rig.put(1, http()) == ""
    with rig.world.connect(10001, "node", "127.0.0.1") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""


def test_a_removed_rule_set_lets_its_connections_end(rig):
    assert rig.put(2, http(path="/a")) == ""
    connection = rig.world.http(2)
    assert ask(connection, "/a")[0] == 200
    rig.remove(2)
    rig.world.until(lambda: refused(rig, 8002))
    assert ask(connection, "/a")[0] == 200


def test_a_rule_set_that_went_and_comes_back_at_once_is_in_force(rig):
    assert rig.put(3, http(path="/a")) == ""
    assert rig.world.get(3, "/a") == 200
    rig.remove(3)
    assert rig.put(3, http(path="/a")) == ""
    assert rig.world.get(3, "/a") == 200


def refused(rig, port: int) -> bool:
    try:
        rig.world.connect(port).close()
    except OSError:
        return True
    return False
