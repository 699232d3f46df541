# SPDX-License-Identifier: Apache-2.0
"""What a hostile client sends over HTTP/2, and what is to become of it."""

from __future__ import annotations

from dataclasses import dataclass

from http2_frames import (
    BEGIN,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST,
    SETTINGS,
    WINDOW,
    block,
    frame,
    raw,
    request,
)
from proxy_fakes import http

RULES = (
    http(method="GET", path="/a"),
    http(method="POST", path="/post"),
    http(path="/pub/.*"),
    http(path="/hosted", host="api\\.example"),
    http(path="/keyed", headers=["X-Key secret"]),
    http(method="POST", path="/pkg.Service/Method"),
    http(method="CONNECT", path="/socket"),
)
GRPC = ("content-type", "application/grpc")
PSEUDO = [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]


@dataclass(frozen=True)
class Case:
    """Frames after the client's preface; `became` as `http2_frames.outcomes` tells it."""

    sends: tuple[bytes, ...]
    became: tuple[str, ...]
    seen: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def ok(frames: bytes, seen: str = "GET /a") -> Case:
    """Expect that one request passes."""
    return Case((BEGIN + frames,), ("1: 200",), (seen,), ("FORWARDED",))


def no(frames: bytes) -> Case:
    """Expect a 403."""
    return Case((BEGIN + frames,), ("1: 403",), (), ("DROPPED",))


def bad(
    *frames: bytes, became: tuple[str, ...] = ("closed",), told: tuple[str, ...] = ("ERROR",)
) -> Case:
    """Expect that the proxy finds fault and the server sees nothing."""
    return Case((BEGIN + frames[0], *frames[1:]), became, (), told)


def smuggled(name: str, value: str) -> bytes:
    """Return a request with one of its pseudo headers replaced."""
    return raw([(key, value if key == name else text) for key, text in PSEUDO])


CRLF = " HTTP/1.1\r\nHost: x\r\n\r\nGET /admin"

CASES: dict[str, Case] = {
    "prior knowledge": ok(request()),
    "forbidden": no(request("/admin")),
    "both on one connection": Case(
        (BEGIN + request(), request("/admin", stream=3), request(stream=5)),
        ("1: 200", "3: 403", "5: 200"),
        ("GET /a", "GET /a"),
        ("FORWARDED", "DROPPED", "FORWARDED"),
    ),
    "dots": no(request("/pub/../admin")),
    "dots and slash encoded": no(request("/pub/..%2fadmin")),
    "host": ok(request("/hosted", host="api.example"), "GET /hosted"),
    "host, other": no(request("/hosted", host="evil")),
    "host beside authority": no(request("/hosted", ("host", "api.example"), host="evil")),
    "host beside the allowed authority": ok(
        request("/hosted", ("host", "evil"), host="api.example"), "GET /hosted"
    ),
    "host instead of authority": ok(
        request("/hosted", ("host", "api.example"), host=None), "GET /hosted"
    ),
    "authority twice": bad(raw([*PSEUDO, (":authority", "y")])),
    "no host at all": bad(request(host=None)),
    "header in big letters": bad(request("/keyed", ("X-Key", "secret"))),
    "header": ok(request("/keyed", ("x-key", "secret")), "GET /keyed"),
    "header twice": no(request("/keyed", ("x-key", "secret"), ("x-key", "other"))),
    "path with CRLF": bad(smuggled(":path", "/a" + CRLF)),
    "path with a blank": bad(smuggled(":path", "/a /admin")),
    "path with NUL": bad(smuggled(":path", "/a\0")),
    "path with a fragment": bad(smuggled(":path", "/a#/admin"), became=("1: 400",)),
    "path absolute": bad(smuggled(":path", "http://x/a")),
    "path empty": bad(smuggled(":path", "")),
    "path *": bad(smuggled(":path", "*")),
    "path twice": bad(raw([*PSEUDO, (":path", "/admin")])),
    "path twice, other order": bad(raw([(":path", "/admin"), *PSEUDO])),
    "path missing": bad(request(None)),
    "method with CRLF": bad(smuggled(":method", "GET /admin HTTP/1.1\r\nHost: x\r\n\r\nGET")),
    "method with a blank": bad(smuggled(":method", "GET /admin")),
    "method unknown": no(smuggled(":method", "BREW")),
    "method missing": bad(request(method=None)),
    "authority with CRLF": bad(smuggled(":authority", "x\r\nX-Key: secret")),
    "authority with a path": bad(smuggled(":authority", "x/admin?")),
    "scheme strange": bad(smuggled(":scheme", "http://x/admin?")),
    "value with CRLF": bad(request("/a", ("x", "1\r\nx-key: secret"))),
    "value with LF": bad(request("/a", ("x", "1\nx-key: secret"))),
    "value with NUL": bad(request("/a", ("x", "1\x002"))),
    "name with colon": bad(request("/a", ("x: 1\r\nx-key", "secret"))),
    "name with a blank": bad(request("/a", ("x-key ", "secret"))),
    "name empty": bad(request("/a", ("", "secret"))),
    "pseudo header unknown": bad(request("/a", (":admin", "1"))),
    "pseudo header late": bad(raw([(":method", "GET"), ("x", "1"), *PSEUDO[1:]])),
    "connection": bad(request("/a", ("connection", "x-key"))),
    "transfer-encoding": bad(
        request("/post", ("transfer-encoding", "chunked"), method="POST", body=b"0\r\n\r\n")
    ),
    "te": ok(request("/a", ("te", "trailers"))),
    "upgrade": bad(request("/a", ("upgrade", "websocket"))),
    "length too small": bad(
        request("/post", ("content-length", "1"), method="POST", body=b"hello"),
        became=("1: reset",),
        told=("FORWARDED",),
    ),
    "length too large": bad(
        request("/post", ("content-length", "9"), method="POST", body=b"hello"),
        became=("1: reset",),
        told=("FORWARDED",),
    ),
    "length twice": bad(
        request(
            "/post", ("content-length", "5"), ("content-length", "0"), method="POST", body=b"hello"
        )
    ),
    "body": ok(request("/post", method="POST", body=b"GET /admin HTTP/1.1\r\n\r\n"), "POST /post"),
    "CONNECT": bad(raw([(":method", "CONNECT"), (":authority", "evil:80")]), became=("1: 404",)),
    "CONNECT with a path": bad(request("/a", method="CONNECT")),
    "WebSocket forbidden": no(
        request("/admin", (":protocol", "websocket"), method="CONNECT", body=b"")
    ),
    "gRPC": ok(
        request("/pkg.Service/Method", GRPC, method="POST", body=b""), "POST /pkg.Service/Method"
    ),
    "gRPC, other method": Case(
        (BEGIN + request("/pkg.Service/Other", GRPC, method="POST", body=b""),),
        ("1: 200 grpc 7",),
        (),
        ("DROPPED",),
    ),
    "stream of even number": bad(request(stream=2), told=()),
    "stream 0": bad(frame(HEADERS, 0, block(PSEUDO), END_HEADERS | END_STREAM), told=()),
    "stream goes back": bad(
        request("/admin", stream=5), request(stream=3), became=("5: 403",), told=("DROPPED",)
    ),
    "data without a request": bad(
        frame(DATA, 1, b"GET /admin"), became=("goaway", "closed"), told=()
    ),
    "header block that is none": bad(
        frame(HEADERS, 1, b"\xff\xff\xff\xff\xff", END_HEADERS | END_STREAM),
        became=("goaway", "closed"),
    ),
    "frame longer than allowed": bad(
        frame(DATA, 1, b"x" * 20_000), became=("goaway", "closed"), told=()
    ),
    "window of 0": bad(frame(WINDOW, 0, b"\0\0\0\0"), told=()),
    "settings with a wrong length": bad(
        frame(SETTINGS, 0, b"\0" * 5), became=("goaway", "closed"), told=()
    ),
    "frame unknown": ok(frame(0x77, 0, b"x") + request()),
    "preface cut off": Case((b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + request(),), ("closed",)),
    "headers too long": bad(
        request("/a", *((f"x-{n}", "x" * 1000) for n in range(90))),
        became=("goaway", "closed"),
        told=(),
    ),
    "too many headers": bad(
        request("/a", *((f"x-{n}", "1") for n in range(1200))), became=("1: reset",)
    ),
    "CONTINUATION": Case(
        (
            BEGIN
            + frame(HEADERS, 1, block(PSEUDO[:2]), END_STREAM)
            + frame(CONTINUATION, 1, block(PSEUDO[2:]), END_HEADERS),
        ),
        ("1: 200",),
        ("GET /a",),
        ("FORWARDED",),
    ),
    "CONTINUATION without end": bad(
        frame(HEADERS, 1, block(PSEUDO), END_STREAM)
        + frame(CONTINUATION, 1, block([("x", "x" * 1000)])) * 2000,
        became=("1: reset", "closed"),
    ),
    "CONTINUATION empty without end": bad(
        frame(HEADERS, 1, block(PSEUDO), END_STREAM) + frame(CONTINUATION, 1) * 20_000
    ),
    "settings without end": bad(
        frame(SETTINGS, 0, b"\0\1\0\0\x10\0" * 100) * 20_000, became=("goaway", "closed"), told=()
    ),
    "pings without end": bad(frame(PING, 0, b"12345678") * 50_000, told=()),
    "priorities without end": bad(frame(PRIORITY, 1, b"\0\0\0\0\0") * 50_000, told=()),
    "empty data without end": bad(
        request("/post", method="POST", body=b"")[:-9] + frame(DATA, 1) * 5_000, told=("FORWARDED",)
    ),
    # CVE-2023-44487: requests that are taken back at once. After 250 of them the connection goes.
    "rapid reset": Case(
        (
            BEGIN
            + b"".join(request(stream=n) + frame(RST, n, b"\0\0\0\x08") for n in range(1, 6000, 2)),
        ),
        ("closed",),
        told=("FORWARDED",) * 250,
    ),
}
