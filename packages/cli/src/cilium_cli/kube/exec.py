# SPDX-License-Identifier: Apache-2.0
"""The channel protocol of `exec` over a websocket (v5.channel.k8s.io and v4).

Each binary message is one byte of channel and its payload; the error channel ends the command with
a Status object.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from cilium_cli.errors import ExecError

STDOUT, STDERR, ERROR = 1, 2, 3


class ExecResult(msgspec.Struct, frozen=True):
    """What a command printed, and its exit status."""

    stdout: bytes
    stderr: bytes
    code: int


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] = []


class _Status(msgspec.Struct):
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None


def exit_code(status: bytes) -> int:
    """Return the exit status that a Status object stands for.

    ExecError when the command never ran (no such file, container gone).
    """
    try:
        parsed = msgspec.json.decode(status, type=_Status)
    except msgspec.DecodeError as error:
        raise ExecError(f"the command ended with an unreadable status: {status!r}") from error
    if parsed.status == "Success":
        return 0
    for cause in parsed.details.causes if parsed.details else ():
        if cause.reason == "ExitCode" and cause.message.isdecimal():
            return int(cause.message)
    raise ExecError(parsed.message or parsed.reason or "the command could not be run")


async def read_exec(socket: aiohttp.ClientWebSocketResponse[Any]) -> ExecResult:
    """Collect the channels until the status arrives. ExecError when the stream ends before it."""
    output = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel = message.data[0]
        if channel in output:
            output[channel] += message.data[1:]
    if not output[ERROR]:
        raise ExecError("the connection closed before the command ended")
    return ExecResult(bytes(output[STDOUT]), bytes(output[STDERR]), exit_code(bytes(output[ERROR])))
