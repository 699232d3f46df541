# SPDX-License-Identifier: Apache-2.0
"""The last valid form of every policy, kept over restarts: one small file each, in one folder.

Without it a process that begins after a mistaken edit would not know what the policy said, and
open it. A file is written before its policy counts, by renaming; one that cannot be is told in the
log and keeps no policy from being enforced. Blocking, some kilobytes a policy.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from cilium_core.policy.numbers import digest

log = structlog.get_logger(__name__)


class _File(msgspec.Struct):
    key: str
    body: dict[str, Any]


class LastValid:
    """Bodies by the text of their key."""

    def __init__(self, folder: Path) -> None:
        """Read the folder; one that is absent is empty, a file that is damaged is told and left."""
        self._folder = folder
        self._bodies: dict[str, dict[str, Any]] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                found = msgspec.json.decode(path.read_bytes(), type=_File)
            except (msgspec.DecodeError, OSError) as error:
                log.error("a policy's last valid form is lost", path=str(path), error=str(error))
            else:
                self._bodies[found.key] = found.body

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Return what an object said when it was valid."""
        return self._bodies.get(key)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        """Keep an object's valid form."""
        if self._bodies.get(key) == body:
            return
        self._bodies[key] = dict(body)
        path = self._path(key)
        fresh = path.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(_File(key, self._bodies[key])))
            os.replace(fresh, path)
        except OSError as error:
            log.error("a policy's valid form is not kept", policy=key, error=str(error))

    def drop(self, key: str) -> None:
        """Forget an object: it is gone."""
        if self._bodies.pop(key, None) is not None:
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError as error:
                log.error("a policy's form is not forgotten", policy=key, error=str(error))

    def keep(self, keys: Container[str]) -> None:
        """Forget all other objects: they went while no process ran."""
        for key in [key for key in self._bodies if key not in keys]:
            self.drop(key)

    def _path(self, key: str) -> Path:
        return self._folder / f"{digest(key).hex()}.json"
