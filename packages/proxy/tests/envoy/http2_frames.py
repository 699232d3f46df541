# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames that no decent client would send, and what a server answers to them."""

from __future__ import annotations

import struct

import hpack
from recorder import PREFACE

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
BEGIN = PREFACE + bytes.fromhex("000000040000000000")  # and empty settings
Fields = list[tuple[str | bytes, str | bytes]]


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(fields: Fields) -> bytes:
    """Return fields as a header block that needs no state: literals, not indexed."""
    texts = [[t.encode("latin-1") if isinstance(t, str) else t for t in pair] for pair in fields]
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in texts)


def _text(text: bytes) -> bytes:
    return bytes(hpack.hpack.encode_integer(len(text), 7)) + text


def request(
    path: str | None = "/a",
    *more: tuple[str, str],
    method: str | None = "GET",
    host: str | None = "x",
    stream: int = 1,
    body: bytes | None = None,
) -> bytes:
    """Return a request; what is None is left out."""
    pseudo = {":method": method, ":scheme": "http", ":path": path, ":authority": host}
    fields: Fields = [(name, value) for name, value in pseudo.items() if value is not None]
    return raw([*fields, *more], stream, body)


def raw(fields: Fields, stream: int = 1, body: bytes | None = None) -> bytes:
    """Return HEADERS, and DATA if there is a body."""
    flags = END_HEADERS | (END_STREAM if body is None else 0)
    made = frame(HEADERS, stream, block(fields), flags)
    return made if body is None else made + frame(DATA, stream, body, END_STREAM)


def outcomes(answers: bytes) -> list[str]:
    """Return `1: 200`, `3: reset`, `goaway`, in the order of streams."""
    found: dict[int, str] = {}
    decoder = hpack.Decoder()
    last = ""
    while len(answers) >= 9:
        size = int.from_bytes(answers[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", answers[3:9])
        payload, answers = answers[9 : 9 + size], answers[9 + size :]
        if kind == HEADERS:
            fields = dict(decoder.decode(payload))
            status = fields.get(":status", found.get(stream, ""))
            grpc = fields.get("grpc-status")
            found[stream] = f"{status} grpc {grpc}" if grpc else status
        elif kind == RST:
            found.setdefault(stream, "reset")
        elif kind == GOAWAY:
            last = "goaway"
    shown = [f"{stream}: {what}" for stream, what in sorted(found.items())]
    return [*shown, last] if last else shown
