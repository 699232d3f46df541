# SPDX-License-Identifier: Apache-2.0
"""Reads the services' settings from the environment and says which one is wrong.

Pure functions over a mapping; no concurrency.
"""

import re
from collections.abc import Mapping

from emojivoto.errors import SettingError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def port(env: Mapping[str, str], name: str, default: int) -> int:
    """A TCP port, 0..65535 (0: the kernel picks one)."""
    text = env.get(name, str(default))
    if not text.isdigit() or int(text) > 65535:
        raise SettingError(f"{name}={text!r}: give a port number, 0 to 65535")
    return int(text)


def target(env: Mapping[str, str], name: str) -> str:
    """A `host:port` to call; it has no default."""
    text = env.get(name, "")
    if not re.fullmatch(r".+:\d+", text):
        raise SettingError(f"{name}={text!r}: give host:port of the service to call")
    return text


def number(env: Mapping[str, str], name: str, default: float, highest: float) -> float:
    """A number between 0 and `highest`, both included."""
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= highest:
        raise SettingError(f"{name}={text!r}: give a number from 0 to {highest:g}")
    return value


def seconds(env: Mapping[str, str], name: str) -> float:
    """A duration such as `250ms`, `10s`, `5m` or plain seconds; 0 when unset."""
    text = env.get(name) or "0"
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise SettingError(f"{name}={text!r}: give a duration such as 250ms, 10s or 5m")
    return float(match[1]) * _UNITS[match[2]]
