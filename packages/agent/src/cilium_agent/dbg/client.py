# SPDX-License-Identifier: Apache-2.0
"""Asks the agent's API over its unix socket with the standard library alone. Blocking."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

DEFAULT_SOCKET = Path("/var/run/cilium/cilium.sock")
TIMEOUT_SECONDS = 10.0


class Unreachable(Exception):
    """The agent does not answer; the text says why and what to look at."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))


def get(path: str, *, brief: bool = False, where: Path = DEFAULT_SOCKET) -> Any:
    """Return the decoded JSON of a GET under /v1. Unreachable when there is no good answer."""
    return _call("GET", path, {"brief": "true"} if brief else {}, where)


def delete(path: str, *, where: Path = DEFAULT_SOCKET) -> Any:
    """Return the decoded JSON of a DELETE under /v1; errors as `get`."""
    return _call("DELETE", path, {}, where)


def get_text(path: str, where: Path, who: str) -> str:
    """Return a page of another program's unix socket; errors as `get`, which name the program."""
    status, body = _exchange("GET", path, {}, where, who)
    if status != 200:
        raise Unreachable(f"GET {path}: {status} {body[:200].decode(errors='replace')}")
    return body.decode(errors="replace")


def _call(method: str, path: str, headers: dict[str, str], where: Path) -> Any:
    status, body = _exchange(method, f"/v1{path}", headers, where, "the agent")
    if status != 200:
        raise Unreachable(f"{method} {path}: {status} {_detail(body)}")
    return json.loads(body)


def _exchange(
    method: str, path: str, headers: dict[str, str], where: Path, who: str
) -> tuple[int, bytes]:
    connection = _UnixConnection(where)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer from {who} at {where}: {error}; is it running?") from error
    finally:
        connection.close()


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body).get("detail", ""))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")
