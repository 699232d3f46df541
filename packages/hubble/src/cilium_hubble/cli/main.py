# SPDX-License-Identifier: Apache-2.0
"""`hubble`: observe, status, list, config, completion, version. One thread, blocking.

gRPC is imported by the commands that ask a server, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence

from cilium_core.errors import CiliumError
from cilium_hubble.cli import observe, serverflags
from cilium_hubble.cli.completion import SHELLS, script
from cilium_hubble.cli.config import add_commands as add_config


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 for good, 1 for an error, 2 for flags that are wrong."""
    try:
        code = run(sys.argv[1:] if argv is None else argv)
    except CiliumError as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    sys.exit(code)


EXAMPLES = """examples:
  hubble status
  hubble observe --follow
  hubble list nodes
"""
OBSERVE_EXAMPLES = """examples:
  hubble observe --last 50
  hubble observe --follow --namespace shop --verdict DROPPED
  hubble observe --since 5m --to-pod shop/db --protocol tcp -o json
  hubble observe --since 1h --first 20
  hubble observe --last 20 --until 2026-01-02T15:04:05Z
  hubble observe --protocol http --http-status 5+ --from-namespace shop
  hubble observe agent-events --follow
"""


def run(argv: Sequence[str]) -> int:
    """Parse and run; the exit code."""
    arguments = _parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hubble",
        description="Look at flows in the cluster.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    watch = commands.add_parser(
        "observe",
        help="observe flows",
        usage="hubble observe [flags]",
        allow_abbrev=False,
        epilog=OBSERVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    observe.add_flags(watch)
    serverflags.add_flags(watch, timeout=False)
    watch.set_defaults(run=observe.run)
    status = commands.add_parser("status", help="status of the server", allow_abbrev=False)
    _add_output(status, ["compact", "dict", "json", "jsonpb", "table"], "compact")
    serverflags.add_flags(status, timeout=True)
    status.set_defaults(run=_status)
    _add_list(commands.add_parser("list", help="list nodes or namespaces"))
    version = commands.add_parser("version", help="version of this command")
    version.set_defaults(run=_version)
    add_config(commands.add_parser("config", help="settings of this command"))
    completion = commands.add_parser("completion", help="completion script of a shell")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=lambda arguments: _completion(parser, arguments.shell))
    return parser


def _completion(parser: argparse.ArgumentParser, shell: str) -> int:
    print(script(parser, shell), end="")
    return 0


def _add_list(parser: argparse.ArgumentParser) -> None:
    lists = parser.add_subparsers(required=True, metavar="what")
    for name, aliases, function in (
        ("nodes", ["node"], _nodes),
        ("namespaces", ["namespace", "ns"], _namespaces),
    ):
        command = lists.add_parser(name, aliases=aliases, help=f"list {name}", allow_abbrev=False)
        _add_output(command, ["json", "table", "wide"], "table")
        serverflags.add_flags(command, timeout=True)
        command.set_defaults(run=function)


def _add_output(parser: argparse.ArgumentParser, choices: list[str], default: str) -> None:
    text = f"default {default}"
    parser.add_argument("-o", "--output", choices=choices, default=default, help=text)


def _status(arguments: argparse.Namespace) -> int:
    from cilium_hubble.cli import status

    return status.run(arguments)


def _nodes(arguments: argparse.Namespace) -> int:
    from cilium_hubble.cli import listing

    return listing.nodes(arguments)


def _namespaces(arguments: argparse.Namespace) -> int:
    from cilium_hubble.cli import listing

    return listing.namespaces(arguments)


def _version(_arguments: argparse.Namespace) -> int:
    from cilium_hubble.version import VERSION

    where = f"{platform.system().lower()}/{platform.machine()}"
    print(f"hubble v{VERSION} compiled with python{platform.python_version()} on {where}")
    return 0


if __name__ == "__main__":
    main()
