# SPDX-License-Identifier: Apache-2.0
"""The command's settings: flags, then `$HUBBLE_…`, then a YAML file, then what is built in.

The file is `$HUBBLE_CONFIG`, else `hubble/config.yaml` in the user's folder of settings, as
upstream's. A key that is not known, or a value of another type, is an error that names the file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cilium_hubble.cli.printing.times import duration
from cilium_hubble.errors import HubbleError

Value = bool | str | list[str]

DEFAULTS: dict[str, Value] = {
    "debug": False,
    "request-timeout": "12s",
    "server": "",
    "tls": False,
    "tls-ca-cert-files": [],
    "tls-client-cert-file": "",
    "tls-client-key-file": "",
    "tls-server-name": "",
}


class BadConfig(HubbleError):
    """The file, or what should come into it, is not as it must be."""


def path_of(arguments: argparse.Namespace) -> Path:
    """Return the file's path; reads the environment."""
    given = getattr(arguments, "config", "") or os.environ.get("HUBBLE_CONFIG", "")
    if given:
        return Path(given)
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder, "hubble", "config.yaml")


def read(path: Path) -> dict[str, Value]:
    """Return what a file says; nothing when there is none. BadConfig for what it may not say."""
    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfig(f"{path}: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadConfig(f"{path}: is not a list of keys and values")
    return {key: checked(key, value, str(path)) for key, value in found.items()}


def write(path: Path, values: Mapping[str, Value]) -> None:
    """Replace the file in one step. BadConfig when it cannot be written."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(yaml.safe_dump(dict(sorted(values.items()))) if values else "")
        new.replace(path)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from error


def checked(key: Any, value: Any, where: str) -> Value:
    """Return a value as its key wants it; texts are read as the command line's. BadConfig."""
    if key not in DEFAULTS:
        raise BadConfig(f"{where}: unknown key: {key}")
    default = DEFAULTS[key]
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "1", "false", "0"):
            return str(value).lower() in ("true", "1")
        raise BadConfig(f"{where}: {key}: {value!r} is neither true nor false")
    if isinstance(default, list):
        if isinstance(value, str):
            value = [part for part in value.strip("[]").split(",") if part]
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise BadConfig(f"{where}: {key}: is not a list of texts")
        return value
    if not isinstance(value, str):
        raise BadConfig(f"{where}: {key}: {value!r} is not a text")
    if key == "request-timeout" and not duration(value):
        raise BadConfig(f"{where}: {key}: {value!r} is not a duration such as 12s")
    return value


class Merged:
    """Settings of one run of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Read the file and the environment once. BadConfig."""
        self._arguments = arguments
        self._file = read(path_of(arguments))

    def value(self, key: str) -> Value:
        """Return what holds for a key."""
        given = getattr(self._arguments, key.replace("-", "_"), None)
        if given:
            return checked(key, given if given is True else _joined(given), f"--{key}")
        variable = "HUBBLE_" + key.upper().replace("-", "_")
        if os.environ.get(variable):
            return checked(key, os.environ[variable], f"${variable}")
        return self._file.get(key, DEFAULTS[key])

    def text(self, key: str) -> str:
        """Return a text."""
        found = self.value(key)
        assert isinstance(found, str)
        return found

    def seconds(self) -> float:
        """Return the request timeout."""
        return (duration(self.text("request-timeout")) or 0) / 1e9

    def all(self) -> dict[str, Value]:
        """Return every key's value."""
        return {key: self.value(key) for key in DEFAULTS}


def _joined(given: Any) -> str:
    return ",".join(given) if isinstance(given, list) else str(given)
