# SPDX-License-Identifier: Apache-2.0
"""Flags that say which server to ask, and what stands for them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

LOCAL_SOCKET = Path("/var/run/cilium/hubble.sock")
DEFAULT_SERVER = "localhost:4245"


def default_server() -> str:
    """Return $HUBBLE_SERVER, else this node's own socket when there is one, else the relay's port.

    Reads the environment and looks for the socket.
    """
    if os.environ.get("HUBBLE_SERVER"):
        return os.environ["HUBBLE_SERVER"]
    return f"unix://{LOCAL_SOCKET}" if LOCAL_SOCKET.exists() else DEFAULT_SERVER


def add_flags(parser: argparse.ArgumentParser, *, timeout: bool) -> None:
    """Add `--server` and, where it matters, `--request-timeout`."""
    group = parser.add_argument_group("server flags")
    group.add_argument(
        "--server",
        metavar="ADDRESS",
        default="",
        help="address of a Hubble server, host:port or unix://path (default $HUBBLE_SERVER,"
        f" else unix://{LOCAL_SOCKET} when it exists, else {DEFAULT_SERVER})",
    )
    if timeout:
        text = "how long to wait for an answer (default 12s)"
        group.add_argument("--request-timeout", metavar="DURATION", default="12s", help=text)
