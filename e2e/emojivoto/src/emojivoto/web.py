# SPDX-License-Identifier: Apache-2.0
"""The web service: two pages and the JSON calls behind them, on top of emoji and voting.

One asyncio loop; each of the two services is called over one gRPC channel that reconnects itself.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import cast

import grpc
from aiohttp import web

from emojivoto import emoji, rpc, settings, voting
from emojivoto.catalogue import BY_SHORTCODE
from emojivoto.v1 import emoji_pb2, voting_pb2

EMOJI_TARGET = web.AppKey("emoji_target", str)
VOTING_TARGET = web.AppKey("voting_target", str)
EMOJI_CHANNEL = web.AppKey("emoji_channel", grpc.aio.Channel)
VOTING_CHANNEL = web.AppKey("voting_channel", grpc.aio.Channel)

# A pod that moved must be found again quickly, not after gRPC's default of up to two minutes.
_CHANNEL_OPTIONS = [("grpc.max_reconnect_backoff_ms", 1000)]


async def _find(request: web.Request, shortcode: str) -> emoji_pb2.Emoji | None:
    response = await rpc.call(
        request.app[EMOJI_CHANNEL],
        emoji.DESCRIPTOR,
        "FindByShortcode",
        emoji_pb2.FindByShortcodeRequest(shortcode=shortcode),
    )
    found = cast(emoji_pb2.FindByShortcodeResponse, response)
    return found.emoji if found.HasField("emoji") else None


async def list_emoji(request: web.Request) -> web.Response:
    """GET /api/list: every emoji with its character."""
    response = await rpc.call(
        request.app[EMOJI_CHANNEL], emoji.DESCRIPTOR, "ListAll", emoji_pb2.ListAllEmojiRequest()
    )
    entries = cast(emoji_pb2.ListAllEmojiResponse, response).list
    return web.json_response([{"shortcode": e.shortcode, "unicode": e.unicode} for e in entries])


async def vote(request: web.Request) -> web.Response:
    """GET /api/vote?choice=:joy: - 200 and empty, or 400 for a choice that is none."""
    choice = request.query.get("choice", "")
    if not choice:
        return _error(400, "give the emoji as ?choice=:shortcode:")
    found = await _find(request, choice)
    if found is None:
        return _error(400, f"there is no emoji {choice}")
    method = BY_SHORTCODE[found.shortcode].method
    await rpc.call(request.app[VOTING_CHANNEL], voting.DESCRIPTOR, method, voting_pb2.VoteRequest())
    return web.Response()


async def leaderboard(request: web.Request) -> web.Response:
    """GET /api/leaderboard: the emoji that have votes, most first; votes are strings."""
    response = await rpc.call(
        request.app[VOTING_CHANNEL], voting.DESCRIPTOR, "Results", voting_pb2.ResultsRequest()
    )
    board = []
    for result in cast(voting_pb2.ResultsResponse, response).results:
        found = await _find(request, result.shortcode)
        character = found.unicode if found else ""
        board.append(
            {"shortcode": result.shortcode, "unicode": character, "votes": str(result.votes)}
        )
    return web.json_response(board)


async def page(request: web.Request) -> web.Response:
    """GET / and /leaderboard: a page that fills itself through the API."""
    name = "leaderboard.html" if request.path == "/leaderboard" else "vote.html"
    text = resources.files("emojivoto").joinpath("pages", name).read_text("utf-8")
    return web.Response(text=text, content_type="text/html")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


@web.middleware
async def failed_calls(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A failed gRPC call becomes a 500 that carries its message."""
    try:
        return await handler(request)
    except grpc.aio.AioRpcError as error:
        return _error(500, f"{error.code().name}: {error.details()}")


async def _channels(app: web.Application) -> AsyncIterator[None]:
    async with (
        grpc.aio.insecure_channel(app[EMOJI_TARGET], options=_CHANNEL_OPTIONS) as emoji_channel,
        grpc.aio.insecure_channel(app[VOTING_TARGET], options=_CHANNEL_OPTIONS) as voting_channel,
    ):
        app[EMOJI_CHANNEL] = emoji_channel
        app[VOTING_CHANNEL] = voting_channel
        yield


def application(emoji_target: str, voting_target: str) -> web.Application:
    """The web application that calls the two services at `host:port`."""
    app = web.Application(middlewares=[failed_calls])
    app[EMOJI_TARGET] = emoji_target
    app[VOTING_TARGET] = voting_target
    app.cleanup_ctx.append(_channels)
    app.router.add_get("/", page)
    app.router.add_get("/leaderboard", page)
    app.router.add_get("/api/list", list_emoji)
    app.router.add_get("/api/vote", vote)
    app.router.add_get("/api/leaderboard", leaderboard)
    return app


async def serve(app: web.Application, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    print(f"serving HTTP on port {port}", flush=True)
    try:
        await rpc.until_told_to_stop()
    finally:
        await runner.cleanup()


def main() -> None:
    """Serve on WEB_PORT (8080) with EMOJISVC_HOST and VOTINGSVC_HOST behind it."""
    app = application(
        settings.target(os.environ, "EMOJISVC_HOST"), settings.target(os.environ, "VOTINGSVC_HOST")
    )
    asyncio.run(serve(app, settings.port(os.environ, "WEB_PORT", 8080)))
