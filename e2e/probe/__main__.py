# SPDX-License-Identifier: Apache-2.0
"""The `probe` command. Subcommands that do not serve print JSON, one object or list a line.

Exit status: 0 when every try succeeded, 1 when one failed, 2 for a wrong command line.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from e2e.canary import sender
from e2e.probe import clients, load, matrix, names, raw, server
from e2e.probe.errors import ProbeError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="probe", description="Network test pod.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve TCP echo, UDP echo and HTTP")
    serve.add_argument("--tcp", type=int, action="append", metavar="PORT", help="7000; repeatable")
    serve.add_argument("--udp", type=int, action="append", metavar="PORT", help="7000; repeatable")
    serve.add_argument("--http", type=int, default=8080, metavar="PORT")
    for kind in clients.KINDS:
        command = commands.add_parser(kind, help=f"try {kind}, one JSON line a try")
        command.add_argument("--target", required=True, action="append")
        command.add_argument("--count", type=int, default=1)
        command.add_argument("--rate", type=float, default=0.0, help="tries a second, open loop")
        command.add_argument("--timeout", type=float, default=2.0)
        command.add_argument("--summary", action="store_true", help="print only the summary")
        if kind == "dns":
            command.add_argument("--family", type=int, choices=(4, 6), default=4)
        else:
            command.add_argument("--size", type=int, default=0 if kind == "http" else 32)
    held = commands.add_parser("held", help="HTTP requests on one kept connection")
    held.add_argument("--target", required=True)
    held.add_argument("--count", type=int, default=100)
    held.add_argument("--rate", type=float, default=0.0)
    held.add_argument("--timeout", type=float, default=10.0)
    fetch = commands.add_parser("fetch", help="read a long HTTP body and print its longest stall")
    fetch.add_argument("--target", required=True)
    fetch.add_argument("--timeout", type=float, default=30.0, help="longest stall, seconds")
    grid = commands.add_parser("matrix", help="try a JSON list from stdin all at once")
    grid.add_argument("--timeout", type=float, default=2.0)
    commands.add_parser("raw", help="HTTP/1 byte by byte: a JSON list from stdin, all at once")
    talk = commands.add_parser("talk", help="ask for the paths on stdin, on one kept connection")
    talk.add_argument("--target", required=True)
    talk.add_argument("--timeout", type=float, default=5.0)
    named = commands.add_parser("names-serve", help="DNS of names whose addresses change")
    named.add_argument("--first", required=True, help="the first address that is given")
    named.add_argument("--ttl", type=int, default=60)
    lookups = commands.add_parser("names", help="look names up, connect to each answer at once")
    lookups.add_argument("--server", required=True)
    lookups.add_argument("--zone", required=True)
    lookups.add_argument("--port", type=int, default=7000)
    lookups.add_argument("--count", type=int, default=100)
    lookups.add_argument("--width", type=int, default=16)
    commands.add_parser("canary", help="send the canary's traffic (CANARY_FLOWS) until stopped")
    return parser


async def _run(options: argparse.Namespace) -> bool:
    match options.command:
        case "serve":
            await server.serve(options.tcp or [7000], options.udp or [7000], options.http)
            return True
        case "names-serve":
            await names.serve(options.first, options.ttl)
            return True
        case "names":
            found = await names.look_up(
                options.server, options.zone, options.port, options.count, options.width
            )
            _print(found.as_json())
            return bool(found.connected == options.count)
        case "canary":
            await sender.main()
            return True
        case "held":
            summary = await load.held(options.target, options.count, options.rate, options.timeout)
            return _print_summary(summary, options.count)
        case "fetch":
            outcome = await load.fetch(options.target, options.timeout)
            _print(outcome.as_json())
            return outcome.ok
        case "matrix":
            text = await asyncio.to_thread(sys.stdin.read)
            results = await matrix.run(text, options.timeout)
            _print(results)
            return all(result["ok"] is True for result in results)
        case "raw":
            outcomes = await raw.run(await asyncio.to_thread(sys.stdin.read))
            _print(outcomes)
            return all(outcome.get("ok") for outcome in outcomes)
        case "talk":
            async for answer in raw.talk(options.target, options.timeout):
                _print(answer)
            return True
        case _:
            return await _tries(options)


async def _tries(options: argparse.Namespace) -> bool:
    extra: dict[str, Any] = {"within": options.timeout}
    extra |= {"family": options.family} if options.command == "dns" else {"size": options.size}
    attempt = clients.KINDS[options.command]
    outcomes, summary = await load.on_schedule(
        attempt, options.target, options.count, options.rate, **extra
    )
    if options.summary:
        return _print_summary(summary, options.count)
    for outcome in outcomes:
        _print(outcome.as_json())
    return summary.ok == summary.sent


def _print_summary(summary: load.Summary, count: int) -> bool:
    _print(summary.as_json())
    return summary.ok == count


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)


def main() -> int:
    """Run one command."""
    try:
        return 0 if asyncio.run(_run(_parser().parse_args())) else 1
    except ProbeError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
