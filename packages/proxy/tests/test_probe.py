# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

from cilium_proxy import probe


async def listen(host: str, port: int) -> asyncio.Server:
    return await asyncio.start_server(lambda _, writer: writer.close(), host, port)


async def test_a_port_counts_as_open_on_both_addresses_only(unused_tcp_port):
    async with await listen("127.0.0.1", unused_tcp_port):
        missing = await probe.listens(unused_tcp_port, patience=0.05)
        assert missing.startswith(f"nothing listens on [::1]:{unused_tcp_port}: ")
        async with await listen("::1", unused_tcp_port):
            assert await probe.listens(unused_tcp_port) == ""


async def test_a_port_that_opens_late_is_waited_for(unused_tcp_port):
    asking = asyncio.ensure_future(probe.listens(unused_tcp_port))
    await asyncio.sleep(0.05)
    async with await listen("127.0.0.1", unused_tcp_port), await listen("::1", unused_tcp_port):
        assert await asking == ""
