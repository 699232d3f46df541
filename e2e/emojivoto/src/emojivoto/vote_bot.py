# SPDX-License-Identifier: Apache-2.0
"""The vote bot: asks web for the list and votes, REQUEST_RATE times a second.

One asyncio loop; rounds start on a fixed schedule and run beside each other, so that a slow
answer does not lower the rate. At most 64 rounds are open at a time; more are skipped and said.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence

import aiohttp

from emojivoto import rpc, settings
from emojivoto.catalogue import DOUGHNUT

DOUGHNUT_SHARE = 0.15
MOST_OPEN = 64


def choose(shortcodes: Sequence[str], draw: Callable[[], float] = random.random) -> str:
    """The doughnut with 15 % probability, else any of the list, each as likely."""
    if draw() < DOUGHNUT_SHARE:
        return DOUGHNUT.shortcode
    return shortcodes[int(draw() * len(shortcodes))]


async def one_round(session: aiohttp.ClientSession, base: str) -> str:
    """Fetch the list and vote once; what happened, in one line. It raises nothing."""
    try:
        async with session.get(f"{base}/api/list") as response:
            response.raise_for_status()
            shortcodes = [str(entry["shortcode"]) for entry in await response.json()]
        choice = choose(shortcodes)
        async with session.get(f"{base}/api/vote", params={"choice": choice}) as response:
            body = await response.text()
            return f"vote {choice} {response.status} {body}".rstrip()
    except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError, KeyError) as error:
        return f"failed {type(error).__name__}: {error}"


async def run(web_host: str, rate: float, ttl: float) -> None:
    """Vote at `rate` a second for `ttl` seconds (0: until told to stop)."""
    stop = asyncio.ensure_future(rpc.until_told_to_stop())
    ends = time.monotonic() + ttl if ttl else float("inf")
    rounds: set[asyncio.Task[None]] = set()
    timeout = aiohttp.ClientTimeout(total=10.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def say() -> None:
            print(await one_round(session, f"http://{web_host}"), flush=True)

        due = time.monotonic()
        while not stop.done() and due < ends:
            if len(rounds) < MOST_OPEN:
                task = asyncio.create_task(say())
                rounds.add(task)
                task.add_done_callback(rounds.discard)
            else:
                print(f"skipped: {MOST_OPEN} rounds wait for {web_host}", file=sys.stderr)
            due += 1.0 / rate
            await asyncio.wait([stop], timeout=max(0.0, due - time.monotonic()))
        if rounds:
            await asyncio.wait(rounds, timeout=2.0)
    stop.cancel()


def main() -> None:
    """Vote at WEB_HOST, REQUEST_RATE times a second (1), for TTL (forever)."""
    web_host = settings.target(os.environ, "WEB_HOST")
    rate = settings.number(os.environ, "REQUEST_RATE", default=1.0, highest=1000.0) or 1.0
    asyncio.run(run(web_host, rate, settings.seconds(os.environ, "TTL")))
