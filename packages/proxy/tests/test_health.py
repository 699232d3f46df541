# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from cilium_proxy import health


async def fetch(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(
    ("path", "missing", "status"),
    [
        ("/healthz", "Envoy", b"200 OK"),
        ("/readyz", "Envoy", b"503 Service Unavailable"),
        ("/readyz", "", b"200 OK"),
        ("/", "", b"404 Not Found"),
    ],
)
async def test_pages(path, missing, status, unused_tcp_port):
    async with health.serve(("127.0.0.1", unused_tcp_port), lambda: missing):
        found = await fetch(unused_tcp_port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert found.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("text", [b"", b"\r\n\r\n", b"rubbish", b"x" * 20000])
async def test_rubbish_is_closed_and_the_next_is_served(text, unused_tcp_port):
    async with health.serve(("127.0.0.1", unused_tcp_port), lambda: ""):
        assert b"200" not in await fetch(unused_tcp_port, text)
        assert b"200" in await fetch(unused_tcp_port, b"GET /healthz HTTP/1.1\r\n\r\n")
