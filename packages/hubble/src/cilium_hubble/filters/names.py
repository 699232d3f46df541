# SPDX-License-Identifier: Apache-2.0
"""Filters by name: `[namespace/]prefix` of pods, patterns of nodes and clusters. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cilium_core.errors import FieldError

DEFAULT_NAMESPACE = "default"
_WORD = re.compile(r"[-._0-9A-Za-z*]*")


def namespaced(texts: Sequence[str], path: str) -> Callable[[str, str], bool]:
    """Return a test of (namespace, name) against `[namespace/]name-prefix` words.

    No slash means namespace `default`; nothing before the slash means any namespace. Who has
    neither namespace nor name matches nothing.
    """
    wanted = []
    for index, text in enumerate(texts):
        namespace, slash, prefix = text.rpartition("/")
        if not text or "/" in namespace:
            raise FieldError(f"{path}[{index}]", f"{text!r} is not [namespace/]name")
        wanted.append((namespace if slash else DEFAULT_NAMESPACE, prefix))

    def test(namespace: str, name: str) -> bool:
        if not namespace and not name:
            return False
        return any(head in ("", namespace) and name.startswith(prefix) for head, prefix in wanted)

    return test


def node_names(texts: Sequence[str], path: str) -> Callable[[str], bool]:
    """Return a test of `cluster/node` against `[cluster/]node` patterns; an empty part is any."""
    wholes = []
    for index, text in enumerate(texts):
        parts = text.split("/")
        if not text or len(parts) > 2:
            raise FieldError(f"{path}[{index}]", f"{text!r} is not [cluster/]node")
        cluster, node = parts if len(parts) == 2 else ("", parts[0])
        both = [_pattern(part or "*", f"{path}[{index}]") for part in (cluster, node)]
        wholes.append("/".join(both))
    whole = re.compile("|".join(wholes))
    return lambda name: whole.fullmatch(name) is not None


def patterns(texts: Sequence[str], path: str) -> Callable[[str], bool]:
    """Return a test of one name against patterns with `*`."""
    whole = re.compile("|".join(_pattern(text, f"{path}[{i}]") for i, text in enumerate(texts)))
    return lambda name: bool(name) and whole.fullmatch(name) is not None


def _pattern(text: str, path: str) -> str:
    if not text or not _WORD.fullmatch(text):
        raise FieldError(path, f"{text!r} is not a name with * for any characters")
    return re.escape(text.removesuffix(".").lower()).replace(r"\*", "[-._0-9a-z]*")
