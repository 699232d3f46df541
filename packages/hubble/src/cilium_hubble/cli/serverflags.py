# SPDX-License-Identifier: Apache-2.0
"""Flags that say which server to ask, and what stands for them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from cilium_hubble.cli.configfile import Merged

LOCAL_SOCKET = Path("/var/run/cilium/hubble.sock")
DEFAULT_SERVER = "localhost:4245"


def server_of(settings: Merged) -> str:
    """Return the server that is set, else this node's own socket when there is one, else relay's.

    Looks for the socket.
    """
    if found := settings.text("server"):
        return found
    return f"unix://{LOCAL_SOCKET}" if LOCAL_SOCKET.exists() else DEFAULT_SERVER


class Tls(NamedTuple):
    """How to encrypt. Files are paths; empty ones are not given."""

    wanted: bool
    authorities: list[str]
    certificate: str
    key: str
    server_name: str


def tls_of(settings: Merged) -> Tls:
    """Return how to encrypt. A certificate or an authority asks for TLS by itself."""
    files = settings.value("tls-ca-cert-files")
    assert isinstance(files, list)
    certificate = settings.text("tls-client-cert-file")
    return Tls(
        bool(settings.value("tls") or files or certificate),
        files,
        certificate,
        settings.text("tls-client-key-file"),
        settings.text("tls-server-name"),
    )


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
    text = "file of settings (default $HUBBLE_CONFIG, else ~/.config/hubble/config.yaml)"
    group.add_argument("--config", metavar="FILE", default="", help=text)
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
        group.add_argument("--request-timeout", metavar="DURATION", default="", help=text)
