# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg envoy admin`: the node's Envoy, asked on its own admin socket. One thread, blocking.

Only root of this node may open that socket. Reading only: pages that change Envoy are not offered.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cilium_agent.dbg.client import DEFAULT_SOCKET, get_text

SOCKET = DEFAULT_SOCKET.parent / "envoy/sockets/admin.sock"
PAGES = {
    "certs": ("certificates, without their keys", "/certs"),
    "clusters": ("where connections go on, and how these fare", "/clusters"),
    "config": ("the whole configuration, as JSON", "/config_dump?include_eds"),
    "listeners": ("ports that Envoy listens on", "/listeners"),
    "metrics": ("statistics in Prometheus format", "/stats/prometheus"),
    "server": ("version, state and uptime, as JSON", "/server_info"),
}


def add(commands: Any) -> None:
    """Add the commands to a parser's commands."""
    group = commands.add_parser("envoy", help="the node's Envoy")
    admin = group.add_subparsers(required=True, metavar="admin").add_parser(
        "admin", help="read its admin pages"
    )
    admin.add_argument("--socket", type=Path, default=SOCKET, help="Envoy's admin socket")
    pages = admin.add_subparsers(required=True, metavar="page")
    for name, (what, path) in PAGES.items():
        pages.add_parser(name, help=what).set_defaults(run=_admin, page=path)


def _admin(arguments: argparse.Namespace) -> int:
    print(get_text(arguments.page, arguments.socket, "Envoy").rstrip("\n"))
    return 0
