# SPDX-License-Identifier: Apache-2.0
"""Flags of the daemons: `--key value` for each key of their settings. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cilium_hubble.errors import ConfigError


def parse_flags(words: Sequence[str]) -> dict[str, str]:
    """Return `--key value` and `--key=value` pairs. ConfigError names what is neither."""
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, separator, value = word.partition("=")
        if not key.startswith("--") or len(key) == 2:
            raise ConfigError(word, "is not a --key; see cilium-hubble --help")
        if not separator:
            if not rest:
                raise ConfigError(key.removeprefix("--"), "has no value")
            value = rest.pop(0)
        flags[key.removeprefix("--")] = value
    return flags
