# SPDX-License-Identifier: Apache-2.0
"""What a hostile client sends over HTTP/1, and what is to become of it.

`answered` are the statuses that the client gets, `seen` the requests that reach the server,
`told` the verdicts of the records. Envoy writes what it passes on anew, so what matters is that it
was judged as the server reads it: that is what `seen`, `body` and `shown` are for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy_fakes import http

RULES = (
    http(method="GET", path="/a"),
    http(method="POST", path="/post"),
    http(method="GET|HEAD", path="/pub/.*"),
    http(path="/re[0-9]+x?"),
    http(path="/hosted", host=r"api\.example(:80)?"),
    http(path="/keyed", headers=["X-Key secret"]),
    http(path="/there", headers=["X-There"]),
    http(path="/matched", header_matches=[{"name": "X-Key", "value": "secret"}]),
    http(path="/logged", header_matches=[{"name": "X-Key", "value": "secret", "mismatch": "LOG"}]),
    http(path="/added", header_matches=[{"name": "X-New", "value": "1", "mismatch": "ADD"}]),
    http(path="/dropped", header_matches=[{"name": "X-Old", "value": "1", "mismatch": "DELETE"}]),
    http(path="/set", header_matches=[{"name": "X-Set", "value": "1", "mismatch": "REPLACE"}]),
    http(method="GET", path=r"/q\?x=[0-9]"),
    http(method="GET", path="/socket"),
    http(method="CONNECT", host="inner:80"),
    http(method="TRACE", path="/traced"),
    http(method="OPTIONS", path=r"\*"),
)


@dataclass(frozen=True)
class Case:
    """Bytes, in pieces if their order in time matters."""

    sends: tuple[bytes, ...]
    answered: tuple[int, ...]
    seen: tuple[str, ...] = ()
    told: tuple[str, ...] | None = None  # None: as the answers say
    body: bytes = b""  # what the server got with its first request
    shown: dict[str, str | None] = field(default_factory=dict)  # headers that it got, None: not


def get(
    path: str, *lines: str, method: str = "GET", version: str = "1.1", host: str = "x"
) -> bytes:
    """Return a request without a body."""
    hosts = [f"Host: {host}"] if host else []
    return "\r\n".join([f"{method} {path} HTTP/{version}", *hosts, *lines, "", ""]).encode(
        "latin-1"
    )


def post(*lines: str, body: bytes = b"", path: str = "/post") -> bytes:
    """Return a POST with the lines that say how long it is."""
    return get(path, *lines, method="POST") + body


ADMIN = get("/admin")
CHUNKED = "Transfer-Encoding: chunked"


def ok(*sends: bytes, seen: str | tuple[str, ...], **more: object) -> Case:
    """Expect that each request passes as it is."""
    seen = (seen,) if isinstance(seen, str) else seen
    return Case(sends, (200,) * len(seen), seen, **more)  # type: ignore[arg-type]


def no(*sends: bytes, status: int = 403, **more: object) -> Case:
    """Expect one refusal, and that the server sees nothing."""
    return Case(sends, (status,), **more)  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    # Rules.
    "exact": ok(get("/a"), seen="GET /a"),
    "exact is whole": no(get("/ab")),
    "exact is whole before": no(get("/x/a")),
    "exact, slash behind": no(get("/a/")),
    "exact, other case": no(get("/A")),
    "method": no(get("/a", method="PUT")),
    "method in small letters": no(get("/a", method="get"), status=400),
    "method unknown": no(get("/a", method="BREW"), status=400),
    "method longer": no(get("/a", method="GETS"), status=400),
    "head": Case((get("/pub/x", method="HEAD"),), (200,), ("HEAD /pub/x",)),
    "expression is whole": ok(get("/re12"), seen="GET /re12"),
    "expression is whole, more": no(get("/re12xx")),
    "expression is whole, newline": no(get("/re12%0a")),
    "query counts": no(get("/a?x=1")),
    "query of the rule": ok(get("/q?x=1"), seen="GET /q?x=1"),
    "query with dots": ok(get("/pub/a?u=/../admin"), seen="GET /pub/a?u=/../admin"),
    "fragment": no(get("/a#x"), status=400),
    "everything below": ok(get("/pub/"), seen="GET /pub/"),
    "everything below, not itself": no(get("/pub")),
    # Paths.
    "dots": no(get("/pub/../admin")),
    "dots encoded": no(get("/pub/%2e%2e/admin")),
    "dots encoded big": no(get("/pub/%2E%2E/admin")),
    "dots half": no(get("/pub/.%2e/admin")),
    "dots and slash encoded": no(get("/pub/..%2fadmin")),
    "dots and backslash": no(get("/pub/..\\admin")),
    "dots and backslash encoded": no(get("/pub/..%5cadmin")),
    "dots twice encoded": ok(get("/pub/%252e%252e/admin"), seen="GET /pub/%252e%252e/admin"),
    "dots with parameters": no(get("/pub/..;a=b/admin")),
    "dots at the end": no(get("/pub/x/%2e%2e%2f%2e%2e")),
    "dots into the allowed": ok(get("/x/../a"), seen="GET /a"),
    "dots above the root": no(get("/../../../etc/passwd")),
    "slashes": no(get("//a")),
    "slashes below": ok(get("/pub//x"), seen="GET /pub//x"),
    "slashes and dots": no(get("/pub//../../admin")),
    "slash encoded": ok(get("/pub/a%2fb"), seen="GET /pub/a%2fb"),
    "letter encoded": ok(get("/%61"), seen="GET /a"),
    "parameters": no(get("/a;x=1")),
    "NUL encoded": no(get("/a%00"), status=400),
    "no slash": no(get("a"), status=400),
    "empty path": no(b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", status=400),
    "bytes beyond ASCII": no(get("/\xe4"), status=400),
    # Targets and hosts.
    "absolute": ok(get("http://x/a"), seen="GET /a"),
    "absolute, forbidden": no(get("http://x/admin")),
    "absolute, without path": no(get("http://x")),
    "absolute, user": ok(get("http://x@y/a"), seen="GET /a", shown={"host": "y"}),
    "host": ok(get("/hosted", host="api.example"), seen="GET /hosted"),
    "host with its port": ok(get("/hosted", host="api.example:80"), seen="GET /hosted"),
    "host, dot is a dot": no(get("/hosted", host="apixexample")),
    "host, longer": no(get("/hosted", host="api.example.evil")),
    "host, absolute wins": ok(
        get("http://api.example/hosted", host="evil"),
        seen="GET /hosted",
        shown={"host": "api.example"},
    ),
    "host, absolute wins over the allowed": no(get("http://evil/hosted", host="api.example")),
    "host twice": no(get("/hosted", "Host: evil", host="api.example")),
    "host twice, other order": no(get("/hosted", "Host: api.example", host="evil")),
    "host twice, no rule asks": ok(get("/a", "Host: y"), seen="GET /a", shown={"host": "x,y"}),
    "host missing": no(get("/a", host=""), status=400),
    "host strange": no(get("/a", host="a b"), status=400),
    "HTTP/1.0": ok(get("/a", version="1.0"), seen="GET /a"),
    "HTTP/1.0 without host": no(get("/a", version="1.0", host=""), status=400),
    "HTTP/1.0 forbidden": no(get("/admin", version="1.0")),
    "HTTP/0.9": no(b"GET /a\r\n\r\n", status=400),
    "HTTP/3.7": ok(get("/a", version="3.7"), seen="GET /a"),  # as HTTP/1.0
    # Methods with a meaning.
    "CONNECT": no(get("evil:80", method="CONNECT"), status=404),  # as upstream: Envoy has no route
    "CONNECT that a rule names": no(get("inner:80", method="CONNECT"), status=404),
    "CONNECT to an allowed path": no(get("/a", method="CONNECT"), status=400),
    "TRACE": no(get("/a", method="TRACE")),
    "TRACE that a rule names": ok(get("/traced", method="TRACE"), seen="TRACE /traced"),
    "OPTIONS *": no(get("*", method="OPTIONS"), status=404),  # as upstream
    "GET *": no(get("*"), status=400),
    # Upgrades.
    "WebSocket": Case(
        (get("/socket", "Upgrade: websocket", "Connection: Upgrade"), b"ping"),
        (101,),
        ("GET /socket",),
        body=b"ping",
    ),
    "WebSocket forbidden": no(get("/admin", "Upgrade: websocket", "Connection: Upgrade"), ADMIN),
    "h2c upgrade": ok(
        get(
            "/a", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Connection: Upgrade, HTTP2-Settings"
        ),
        seen="GET /a",
        shown={"upgrade": None, "http2-settings": None},
    ),
    "h2c upgrade, then a frame": Case(
        (get("/a", "Upgrade: h2c", "Connection: Upgrade"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (200, 400),
        ("GET /a",),
    ),
    "upgrade to something": no(
        get("/a", "Upgrade: tls/1.0", "Connection: Upgrade"), told=("FORWARDED",)
    ),
    # Lengths.
    "CL.TE": no(post("Content-Length: 6", CHUNKED, body=b"0\r\n\r\n" + ADMIN), status=400),
    "TE.CL": no(
        post(CHUNKED, "Content-Length: 4", body=b"5e\r\n" + ADMIN + b"0\r\n\r\n"), status=400
    ),
    "CL.CL": no(post("Content-Length: 0", "Content-Length: 5", body=ADMIN), status=400),
    "CL.CL in one": no(post("Content-Length: 0, 5", body=ADMIN), status=400),
    "CL twice the same": no(post("Content-Length: 2", "Content-Length: 2", body=b"hi"), status=400),
    "CL negative": no(post("Content-Length: -1", body=ADMIN), status=400),
    "CL with plus": no(post("Content-Length: +2", body=b"hi"), status=400),
    "CL hexadecimal": no(post("Content-Length: 0x2", body=b"hi"), status=400),
    "CL too large": no(post("Content-Length: 99999999999999999999999", body=ADMIN), status=400),
    "CL empty": no(post("Content-Length:", body=ADMIN), status=400),
    "TE obfuscated": no(post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), status=501),
    "TE, blank before colon": no(
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"), status=400
    ),
    "TE after a tab": ok(post("Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"), seen="POST /post"),
    "TE twice": no(post(CHUNKED, "Transfer-Encoding: identity", body=b"0\r\n\r\n"), status=501),
    "TE twice chunked": no(post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), status=501),
    "TE list": no(post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), status=501),
    "TE quoted": no(post('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), status=501),
    "TE folded": ok(
        post("Transfer-Encoding:\r\n chunked", body=b"2\r\nhi\r\n0\r\n\r\n"),
        seen="POST /post",
        body=b"hi",
        shown={"transfer-encoding": "chunked"},
    ),
    "TE by underscore": ok(
        post("Transfer_Encoding: chunked", "Content-Length: 0"), seen="POST /post"
    ),
    "TE over HTTP/1.0": ok(
        get("/post", CHUNKED, method="POST", version="1.0") + b"2\r\nhi\r\n0\r\n\r\n",
        seen="POST /post",
        body=b"hi",
    ),
    "chunk": ok(post(CHUNKED, body=b"2\r\nhi\r\n0\r\n\r\n"), seen="POST /post", body=b"hi"),
    "chunk extension": ok(
        post(CHUNKED, body=b"2;x=1\r\nhi\r\n0\r\n\r\n"), seen="POST /post", body=b"hi"
    ),
    "chunk extension with a bare LF": no(
        post(CHUNKED, body=b"2;\nxx\r\n4c\r\n0\r\n\r\n" + ADMIN), status=400, told=("FORWARDED",)
    ),
    "chunk size too large": no(
        post(CHUNKED, body=b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n"), status=400, told=("FORWARDED",)
    ),
    "chunk size negative": no(
        post(CHUNKED, body=b"-2\r\nhi\r\n0\r\n\r\n"), status=400, told=("FORWARDED",)
    ),
    "chunk ended by LF": no(post(CHUNKED, body=b"2\nhi\n0\n\n"), status=400, told=("FORWARDED",)),
    "chunk longer than it says": Case(
        (post(CHUNKED, body=b"2\r\nhixx\r\n0\r\n\r\n" + ADMIN),),
        (200, 403),
        ("POST /post",),
        body=b"hi",
    ),
    "trailer": ok(
        post(CHUNKED, body=b"2\r\nhi\r\n0\r\nX-Tail: 1\r\n\r\n"), seen="POST /post", body=b"hi"
    ),
    "trailer that is a length": ok(
        post(CHUNKED, body=b"0\r\nContent-Length: 60\r\n\r\n"), seen="POST /post"
    ),
    "body of a GET": ok(get("/a", "Content-Length: 40") + b"x" * 40, seen="GET /a", body=b"x" * 40),
    "body that is a request": ok(
        post(f"Content-Length: {len(ADMIN)}", body=ADMIN), seen="POST /post", body=ADMIN
    ),
    # Lines.
    "bare LF": ok(b"GET /a HTTP/1.1\nHost: x\n\n", seen="GET /a"),
    "bare LF in a line": ok(
        b"GET /a HTTP/1.1\r\nHost: x\r\nX: 1\nX-Key: secret\r\n\r\n",
        seen="GET /a",
        shown={"x": "1", "x-key": "secret"},
    ),
    "bare CR": ok(
        b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", seen="GET /a", shown={"x": "ab"}
    ),
    "NUL in a value": no(b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", status=400),
    "NUL in a name": no(b"GET /a HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n", status=400),
    "NUL in the target": no(b"GET /a\0 HTTP/1.1\r\nHost: x\r\n\r\n", status=400),
    "folded": no(get("/keyed", "X-Key: sec", " ret")),
    "folded at first": no(b"GET /a HTTP/1.1\r\n Host: x\r\nHost: y\r\n\r\n", status=400),
    "no colon": no(get("/a", "X"), status=400),
    "no name": no(get("/a", ": x"), status=400),
    "blanks in the first line": ok(b"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n", seen="GET /a"),
    "tab in the first line": ok(b"GET\t/a\tHTTP/1.1\r\nHost: x\r\n\r\n", seen="GET /a"),
    "more words in the first line": no(b"GET /a /admin HTTP/1.1\r\nHost: x\r\n\r\n", status=400),
    "empty lines before": ok(b"\r\n\r\n" + get("/a"), seen="GET /a"),
    "long header": no(get("/a", "X: " + "x" * 70_000), status=431),
    "many headers": no(get("/a", *[f"X-{n}: 1" for n in range(1100)]), status=431),
    "long target": no(get("/pub/" + "x" * 70_000), status=431),
    # Headers in rules.
    "header": ok(get("/keyed", "x-key: secret"), seen="GET /keyed"),
    "header, blanks around": ok(get("/keyed", "X-Key:   secret  "), seen="GET /keyed"),
    "header missing": no(get("/keyed")),
    "header, other case": no(get("/keyed", "X-Key: Secret")),
    "header twice": no(get("/keyed", "X-Key: secret", "X-Key: other")),
    "header twice, joined": no(get("/keyed", "X-Key: secret, other")),
    "header by underscore": no(get("/keyed", "X_Key: secret")),
    "header in the trailer": no(post(CHUNKED, body=b"0\r\nX-Key: secret\r\n\r\n", path="/keyed")),
    "header that is there": ok(get("/there", "X-There:"), seen="GET /there"),
    "header that is not there": no(get("/there")),
    "header cut off by Connection": no(get("/keyed", "X-Key: secret", "Connection: close, X-Key")),
    "match": ok(get("/matched", "X-Key: secret"), seen="GET /matched"),
    "match fails": no(get("/matched", "X-Key: other")),
    "mismatch LOG": ok(
        get("/logged", "X-Key: other"), seen="GET /logged", shown={"x-key": "other"}
    ),
    "mismatch ADD": ok(get("/added"), seen="GET /added", shown={"x-new": "1"}),
    "mismatch DELETE": ok(get("/dropped", "X-Old: 2"), seen="GET /dropped", shown={"x-old": None}),
    "mismatch REPLACE": ok(get("/set", "X-Set: 9"), seen="GET /set", shown={"x-set": "1"}),
    # What proxies among themselves say.
    "commands to Envoy": ok(
        get(
            "/a",
            "x-envoy-original-dst-host: 10.77.2.2:8100",
            "x-envoy-upstream-rq-timeout-ms: 1",
            "x-envoy-retry-on: 5xx",
            "x-envoy-original-path: /admin",
            "x-rewrite-url: /admin",
            "x-forwarded-for: 9.9.9.9",
            "x-forwarded-proto: https",
            "x-request-id: mine",
        ),
        seen="GET /a",
        shown={"x-forwarded-for": "9.9.9.9", "x-forwarded-proto": "https", "x-request-id": "mine"},
    ),
    "internal by its own word": no(
        get("/admin", "x-envoy-internal: true", "x-forwarded-for: 10.0.0.1")
    ),
    # Several requests.
    "pipelined": Case((get("/a") + ADMIN,), (200, 403), ("GET /a",)),
    "pipelined, other order": Case((ADMIN + get("/a"),), (403, 200), ("GET /a",)),
    # Envoy reads nothing behind a second answer of its own until the client closes.
    "pipelined behind a refusal": Case(
        (get("/a") + ADMIN + get("/pub/x"),),
        (200, 403),
        ("GET /a",),
        told=("FORWARDED", "DROPPED", "ERROR"),
    ),
    "one after the other": Case(
        (get("/a"), ADMIN, get("/pub/x")), (200, 403, 200), ("GET /a", "GET /pub/x")
    ),
    "pipelined after a body": Case(
        (post("Content-Length: 2", body=b"hi") + ADMIN,), (200, 403), ("POST /post",), body=b"hi"
    ),
    "pipelined after close": ok(get("/a", "Connection: close") + ADMIN, seen="GET /a"),
    "refused with a body, then another": Case(
        (post("Content-Length: 58", path="/no", body=ADMIN.ljust(58, b"x")), get("/a")),
        (403,),
    ),
    "continue": Case(
        (post("Content-Length: 2", "Expect: 100-continue"), b"hi"),
        (100, 200),
        ("POST /post",),
        body=b"hi",
    ),
    "continue refused": no(
        get("/admin", "Content-Length: 2", "Expect: 100-continue", method="POST"), b"hi"
    ),
    "expects something": Case(
        (post("Content-Length: 2", "Expect: tea", body=b"hi"),),
        (100, 200),
        ("POST /post",),
        body=b"hi",
    ),
    # No HTTP.
    "noise": no(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 40, status=400),
    "words": no(b"EHLO example\r\n", status=400),
    "zeros": no(b"\0" * 64, status=400),
    "nothing": Case((), ()),
}


def verdicts(case: Case) -> list[str]:
    """Return the verdicts that the records of a case are to have."""
    if case.told is not None:
        return list(case.told)
    words = {200: "FORWARDED", 101: "FORWARDED", 403: "DROPPED"}
    return [words.get(status, "ERROR") for status in case.answered if status != 100]
