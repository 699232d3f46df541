# SPDX-License-Identifier: Apache-2.0
"""The last valid form of policies whose present form has mistakes, kept over restarts.

Without it a restart would forget what a mistaken edit has left in force, and open it. The file
holds only such objects, so it is nearly always empty; it is written before the edit counts, by
renaming. Blocking, some kilobytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

log = structlog.get_logger(__name__)


class LastValid:
    """Bodies by the text of their key."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is absent is empty, one that is damaged is told and empty."""
        self._path = path
        self._bodies: dict[str, dict[str, Any]] = {}
        try:
            self._bodies = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, OSError) as error:
            log.error("last valid policies are lost", path=str(path), error=str(error))

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Return what an object said when it was valid."""
        return self._bodies.get(key)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        """Keep an object's valid form. OSError when the file cannot be written."""
        if self._bodies.get(key) != body:
            self._bodies[key] = dict(body)
            self._write()

    def drop(self, key: str) -> None:
        """Forget an object: it is valid again, or gone."""
        if self._bodies.pop(key, None) is not None:
            self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self._bodies))
        os.replace(fresh, self._path)
