# SPDX-License-Identifier: Apache-2.0
"""What one try met, in words that a test can compare. Pure data; no concurrency."""

import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from e2e.probe.errors import TargetError


@dataclass
class Outcome:
    """One try: `ok`, or `error` as one of the words of `error_word`.

    `ms` is the time from the start of the try to its end, `local` and `peer` are the socket's
    addresses as `address port`, `detail` carries what the kind has (an HTTP status and body, DNS
    addresses, bytes echoed).
    """

    kind: str
    target: str
    ok: bool = False
    ms: float = 0.0
    error: str = ""
    local: str = ""
    peer: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A JSON object without its empty members."""
        return {key: value for key, value in asdict(self).items() if value not in ("", {})}


def error_word(error: BaseException) -> str:
    """timeout, refused, reset, closed, unreachable, name, or the exception's own name."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return "reset"
    if isinstance(error, EOFError):
        return "closed"
    if isinstance(error, socket.gaierror):
        return "name"
    if isinstance(error, OSError) and error.errno in (101, 113):
        return "unreachable"
    return f"{type(error).__name__}: {error}"


def address(sockname: Any) -> str:
    """`address port` of a socket name, without scope or flow; a v4-mapped address as IPv4."""
    if not sockname:
        return ""
    return f"{str(sockname[0]).removeprefix('::ffff:')} {sockname[1]}"


def split_target(target: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[v6 address]:port`."""
    host, separator, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise TargetError(f"target {target!r}: give host:port or [address]:port")
    return host, int(port)
