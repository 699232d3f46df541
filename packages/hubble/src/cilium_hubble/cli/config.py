# SPDX-License-Identifier: Apache-2.0
"""`hubble config view|get|set|reset`."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from cilium_hubble.cli import configfile, serverflags
from cilium_hubble.cli.configfile import DEFAULTS, BadConfig, Merged


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the four commands."""
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, words, function in (
        ("view", "the settings as they hold, merged", _view),
        ("get", "one setting as it holds, or all", _get),
        ("set", "put a setting into the file; without a value its default", _set),
        ("reset", "take a setting, or all, out of the file", _reset),
    ):
        command = commands.add_parser(name, help=words, allow_abbrev=False)
        if name in ("get", "reset"):
            command.add_argument("key", nargs="?", default="", metavar="KEY")
        if name == "set":
            command.add_argument("key", metavar="KEY", help=", ".join(DEFAULTS))
            command.add_argument("value", nargs="?", default="", metavar="VALUE")
        serverflags.add_flags(command, timeout=True)
        command.set_defaults(run=function)


def _view(arguments: argparse.Namespace) -> int:
    print(yaml.safe_dump(Merged(arguments).all()), end="")
    return 0


def _get(arguments: argparse.Namespace) -> int:
    if not arguments.key:
        return _view(arguments)
    _known(arguments.key)
    found: Any = Merged(arguments).value(arguments.key)
    shown = ",".join(found) if isinstance(found, list) else found
    print(str(shown).lower() if isinstance(shown, bool) else shown)
    return 0


def _set(arguments: argparse.Namespace) -> int:
    _known(arguments.key)
    path = configfile.path_of(arguments)
    default = DEFAULTS[arguments.key]
    value = (
        configfile.checked(arguments.key, arguments.value, "set") if arguments.value else default
    )
    configfile.write(path, {**configfile.read(path), arguments.key: value})
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    path = configfile.path_of(arguments)
    if not arguments.key:
        configfile.write(path, {})
        return 0
    _known(arguments.key)
    held = configfile.read(path)
    if held.pop(arguments.key, None) is not None:
        configfile.write(path, held)
    return 0


def _known(key: str) -> None:
    if key not in DEFAULTS:
        raise BadConfig(f"unknown key: {key}")
