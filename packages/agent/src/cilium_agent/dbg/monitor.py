# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg monitor`: prints the lines of hubble's monitor socket as they come. Blocking.

The socket is hubble's, which reads the kernel's ring; this command only asks and prints.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Any, BinaryIO

from cilium_agent.dbg.client import Unreachable

DEFAULT_SOCKET = Path("/var/run/cilium/monitor.sock")


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser("monitor", help="what the datapath does, as it happens")
    parser.add_argument(
        "-t",
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        help="drop, trace or policy-verdict; may be repeated",
    )
    for flag, text in (
        ("--from", "seen by this endpoint"),
        ("--to", "going to this endpoint"),
        ("--related-to", "either"),
    ):
        parser.add_argument(
            flag,
            action="append",
            type=_endpoint,
            default=[],
            dest=flag.removeprefix("--").replace("-", "_"),
            metavar="ID",
            help=f"events {text}; may be repeated",
        )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("-v", "--verbose", action="store_true", help="a block for each event")
    forms.add_argument("-j", "--json", action="store_true", help="a line of JSON for each event")
    parser.add_argument("-n", "--numeric", action="store_true", help="identities as numbers")
    parser.add_argument(
        "--monitor-socket", type=Path, default=DEFAULT_SOCKET, help="hubble's monitor socket"
    )
    parser.set_defaults(run=run)


def _endpoint(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not an endpoint's id (1 to 65535)")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Print until the user ends it: 0. 1 when hubble refuses or goes away.

    Unreachable when nobody listens on the socket.
    """
    try:
        return _print(arguments)
    except KeyboardInterrupt:
        return 0


def _print(arguments: argparse.Namespace) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(arguments.monitor_socket))
        except OSError as error:
            raise Unreachable(
                f"cannot reach hubble at {arguments.monitor_socket}: {error.strerror}; is the"
                " container hubble of this pod running?"
            ) from error
        connection.sendall(json.dumps(_request(arguments)).encode() + b"\n")
        with connection.makefile("rb") as lines:
            head = json.loads(lines.readline() or b"{}")
            if "pages" not in head:
                print(f"Error: {head.get('error', 'hubble went away')}", file=sys.stderr)
                return 1
            return _stream(lines, head, quiet=arguments.json)


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "types": arguments.type,
        "format": "json" if arguments.json else "verbose" if arguments.verbose else "info",
        "from": getattr(arguments, "from"),
        "to": arguments.to,
        "related-to": arguments.related_to,
        "numeric": arguments.numeric,
    }


def _stream(lines: BinaryIO, head: dict[str, int], *, quiet: bool) -> int:
    if not quiet:
        shared = f"{head['pages']}x{head['page_size']} of shared memory"
        print(f"Listening for events on {head['cpus']} CPUs with {shared}")
        print("Press Ctrl-C to quit", flush=True)
    for line in lines:
        sys.stdout.write(line.decode())
        sys.stdout.flush()
    print("Error: hubble went away", file=sys.stderr)
    return 1
