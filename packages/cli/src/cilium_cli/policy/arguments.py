# SPDX-License-Identifier: Apache-2.0
"""The flags of `cilium policy …`. A command's full name, `policy validate`, ends in `command`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cilium policy validate -f manifests/
"""
_VALIDATE_EXAMPLES = """examples:
  cilium policy validate -f policy.yaml
  cilium policy validate -f manifests/ -f more.yaml
  helm template . | cilium policy validate -f - -o json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Give the `policy` parser its commands."""
    commands = parser.add_subparsers(
        dest="policy_command",
        metavar="<command>",
        title="commands",
        required=True,
        parser_class=type(parser),
    )
    _validate(commands)


def _validate(commands: _Commands) -> None:
    text = "Check policies in files as the agent would, and print what is wrong with each field."
    parser = commands.add_parser(
        "validate",
        help=text,
        description=text,
        epilog=_VALIDATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="policy validate")
    files(parser)
    parser.add_argument(
        *("-o", "--output"), choices=("text", "json"), default="text", help="format"
    )


def files(parser: argparse.ArgumentParser) -> None:
    """Add `-f`: one or more files or folders of manifests, in `files`."""
    parser.add_argument(
        *("-f", "--filename"),
        dest="files",
        action="extend",
        nargs="+",
        required=True,
        metavar="FILE_OR_DIR",
        help="manifests: YAML or JSON files, folders of them, - for stdin; can be repeated",
    )
