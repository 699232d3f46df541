# SPDX-License-Identifier: Apache-2.0
"""Settings as text by key: one file per key in a directory, `CILIUM_…` variables, flags.

Read once at start. Which keys exist and what they mean is for each daemon's own `config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cilium_core.errors import ConfigError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def read_directory(directory: Path) -> dict[str, str]:
    """Return the text of every file by its name. ConfigError when the directory does not exist.

    Hidden files (the links that Kubernetes keeps for a mounted ConfigMap) are left out.
    """
    if not directory.is_dir():
        raise ConfigError("config-dir", f"{directory} is not a directory")
    return {
        path.name: path.read_text().strip()
        for path in sorted(directory.iterdir())
        if not path.name.startswith(".") and path.is_file()
    }


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of `CILIUM_…` variables by key: `CILIUM_CLUSTER_NAME` is `cluster-name`."""
    return {
        name.removeprefix("CILIUM_").lower().replace("_", "-"): value.strip()
        for name, value in environment.items()
        if name.startswith("CILIUM_")
    }


def parse_flags(words: Sequence[str]) -> dict[str, str]:
    """Return `--key value` and `--key=value` pairs. ConfigError names what is neither."""
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, separator, value = word.partition("=")
        if not key.startswith("--") or len(key) == 2:
            raise ConfigError(word, "is not a --key; see --help")
        if not separator:
            if not rest:
                raise ConfigError(key.removeprefix("--"), "has no value")
            value = rest.pop(0)
        flags[key.removeprefix("--")] = value
    return flags


class Source:
    """Text values by key, with one parser per type; each failure is a ConfigError of its key."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Read from `values`; `asked` collects the keys that were looked up."""
        self._values = values
        self.asked: set[str] = set()

    def text(self, key: str, default: str) -> str:
        """Return the value, or the default when the key is absent."""
        self.asked.add(key)
        return self._values.get(key, default).strip()

    def boolean(self, key: str, default: bool) -> bool:
        """Read `true` or `false`, in any case."""
        raw = self.text(key, "true" if default else "false").lower()
        if raw not in ("true", "false"):
            raise ConfigError(key, f"{raw!r} is neither true nor false")
        return raw == "true"

    def seconds(self, key: str, default: str) -> float:
        """Read a duration as Go writes them, `1m30s`; empty is the default."""
        raw = self.text(key, "") or default
        if raw == "0":
            return 0.0
        if not _DURATION.fullmatch(raw):
            raise ConfigError(key, f"{raw!r} is not a duration such as 100ms or 1m30s")
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(raw))

    def optional_address(
        self, key: str, default: str, every_host: str = "0.0.0.0"
    ) -> tuple[str, int] | None:
        """Read an address as below, or None from an empty text."""
        return self.address(key, default, every_host) if self.text(key, default) else None

    def address(self, key: str, default: str, every_host: str = "0.0.0.0") -> tuple[str, int]:
        """Read `host:port`; no host is all of them, which `every_host` says."""
        raw = self.text(key, default)
        host, separator, port = raw.rpartition(":")
        if not separator or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(key, f"{raw!r} is not host:port")
        return host.strip("[]") or every_host, int(port)
