# SPDX-License-Identifier: Apache-2.0
"""Where settings come from, before anybody knows what they mean: files, variables, flags.

Apart from `config` because that one knows Envoy, whose types the DNS proxy has no memory for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cilium_proxy.errors import ConfigError

DEFAULT_DIRECTORY = Path("/etc/cilium/config")


def read_values(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the text of every key: files of the directory, then `CILIUM_…` variables.

    Hidden files (the links that Kubernetes keeps for a mounted ConfigMap) are left out.
    ConfigError when the directory does not exist.
    """
    if not directory.is_dir():
        raise ConfigError("config-dir", f"{directory} is not a directory")
    values = {
        path.name: path.read_text().strip()
        for path in sorted(directory.iterdir())
        if not path.name.startswith(".") and path.is_file()
    }
    for name, value in environment.items():
        if name.startswith("CILIUM_"):
            values[name.removeprefix("CILIUM_").lower().replace("_", "-")] = value.strip()
    return values


def parse_flags(words: Sequence[str]) -> dict[str, str]:
    """Return `--key value` and `--key=value` pairs. ConfigError names what is neither."""
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, separator, value = word.partition("=")
        if not key.startswith("--") or len(key) == 2:
            raise ConfigError(word, "is not a --key; see cilium-proxy --help")
        if not separator:
            if not rest:
                raise ConfigError(key.removeprefix("--"), "has no value")
            value = rest.pop(0)
        flags[key.removeprefix("--")] = value
    return flags
