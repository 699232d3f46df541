# SPDX-License-Identifier: Apache-2.0
"""Flags that say which server to ask, and what stands for them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

LOCAL_SOCKET = Path("/var/run/cilium/hubble.sock")
DEFAULT_SERVER = "localhost:4245"


def default_server() -> str:
    """Return $HUBBLE_SERVER, else this node's own socket when there is one, else the relay's port.

    Reads the environment and looks for the socket.
    """
    if os.environ.get("HUBBLE_SERVER"):
        return os.environ["HUBBLE_SERVER"]
    return f"unix://{LOCAL_SOCKET}" if LOCAL_SOCKET.exists() else DEFAULT_SERVER


class Tls(NamedTuple):
    """How to encrypt. Files are paths; empty ones are not given."""

    wanted: bool
    authorities: list[str]
    certificate: str
    key: str
    server_name: str


def tls_of(arguments: argparse.Namespace) -> Tls:
    """Return the flags, $HUBBLE_TLS… for those that are not given. Reads the environment.

    A certificate or an authority asks for TLS by itself.
    """

    def text(name: str) -> str:
        given: str = getattr(arguments, name)
        return given or os.environ.get(f"HUBBLE_{name.upper()}", "")

    told = [*arguments.tls_ca_cert_files] or [os.environ.get("HUBBLE_TLS_CA_CERT_FILES", "")]
    files = [name for entry in told for name in entry.split(",") if name]
    asked = arguments.tls or os.environ.get("HUBBLE_TLS", "").lower() in ("true", "1")
    certificate, key = text("tls_client_cert_file"), text("tls_client_key_file")
    wanted = bool(asked or files or certificate)
    return Tls(wanted, files, certificate, key, text("tls_server_name"))


def add_flags(parser: argparse.ArgumentParser, *, timeout: bool) -> None:
    """Add `--server`, `--tls…` and, where it matters, `--request-timeout`."""
    group = parser.add_argument_group("server flags")
    group.add_argument(
        "--server",
        metavar="ADDRESS",
        default="",
        help="address of a Hubble server, host:port or unix://path (default $HUBBLE_SERVER,"
        f" else unix://{LOCAL_SOCKET} when it exists, else {DEFAULT_SERVER})",
    )
    group.add_argument("--tls", action="store_true", help="speak TLS (or a server tls://host:port)")
    group.add_argument(
        "--tls-ca-cert-files",
        action="append",
        default=[],
        metavar="FILES",
        help="authorities of the server's certificate, comma separated (default: the system's)",
    )
    for name, text in (
        ("client-cert-file", "certificate to show to the server"),
        ("client-key-file", "its key"),
        ("server-name", "name that the server's certificate is for (relay: x.hubble-relay.…)"),
    ):
        group.add_argument(f"--tls-{name}", default="", metavar="VALUE", help=text)
    if timeout:
        text = "how long to wait for an answer (default 12s)"
        group.add_argument("--request-timeout", metavar="DURATION", default="12s", help=text)
