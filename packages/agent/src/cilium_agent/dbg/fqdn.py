# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg fqdn`: what pods were answered, and what policies ask for. One thread, blocking."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import urlencode

from cilium_agent.dbg.client import delete, get
from cilium_agent.dbg.tables import table

HEAD = ("Endpoint", "Source", "FQDN", "TTL", "ExpirationTime", "IPs")


def add(commands: Any) -> None:
    """Add the commands to a parser's commands."""
    group = commands.add_parser("fqdn", help="names of toFQDNs").add_subparsers(
        required=True, metavar="what"
    )
    cache = group.add_parser("cache", help="what pods were answered").add_subparsers(
        required=True, metavar="action"
    )
    listing = cache.add_parser("list", help="list names and addresses")
    listing.add_argument("-e", "--endpoint", default="", help="of this endpoint only")
    listing.add_argument(
        "-s", "--source", choices=["lookup", "connection"], default="",
        help="lookup: the TTL goes on; connection: it is over, a connection may go on",
    )  # fmt: skip
    _add_pattern(listing)
    _add_output(listing)
    listing.set_defaults(run=_list)
    clean = cache.add_parser("clean", help="forget names; connections to them may end")
    clean.add_argument("-f", "--force", action="store_true", help="do not ask")
    _add_pattern(clean)
    clean.set_defaults(run=_clean)
    names = group.add_parser("names", help="the selectors of policies, as JSON")
    _add_output(names)
    names.set_defaults(run=_names)


def cache_list(listed: list[dict[str, Any]]) -> str:
    """Return `fqdn cache list`."""
    rows = [
        [
            str(entry["endpoint-id"]),
            entry["source"],
            entry["fqdn"],
            str(entry["ttl"]),
            entry["expiration-time"],
            ",".join(entry["ips"]),
        ]
        for entry in listed
    ]
    return table(HEAD, rows)


def _add_pattern(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p", "--matchpattern", default="", help="names that match only, with * for any characters"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=["json"], help="print JSON instead of text")


def _list(arguments: argparse.Namespace) -> int:
    query = urlencode({"matchpattern": arguments.matchpattern, "source": arguments.source})
    one = f"/{arguments.endpoint}" if arguments.endpoint else ""
    reply = get(f"/fqdn/cache{one}?{query}", where=arguments.host)
    print(json.dumps(reply, indent=2) if arguments.output else cache_list(reply))
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    if not arguments.force:
        which = arguments.matchpattern or "all names"
        answer = input(f"Forget {which}? Connections to them may end. [y/N] ")
        if answer.strip().lower() != "y":
            return 1
    query = urlencode({"matchpattern": arguments.matchpattern})
    delete(f"/fqdn/cache?{query}", where=arguments.host)
    print("FQDN proxy cache cleared")
    return 0


def _names(arguments: argparse.Namespace) -> int:
    print(json.dumps(get("/fqdn/names", where=arguments.host), indent=2))
    return 0
