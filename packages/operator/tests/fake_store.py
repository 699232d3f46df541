# SPDX-License-Identifier: Apache-2.0
"""CiliumNode objects in memory, with the API server's guards and crashes around requests."""

from __future__ import annotations

import msgspec

from cilium_operator.errors import ApiError
from cilium_operator.views import CiliumNodeView


class Crash(Exception):
    """The process dies here."""


class FakeStore:
    """Objects that outlive the controllers that use them.

    `crash_at` counts down over the boundaries before and after each request.
    """

    def __init__(self) -> None:
        self.objects: dict[str, CiliumNodeView] = {}
        self.first: dict[str, CiliumNodeView] = {}
        self.crash_at = -1
        self._version = 0

    def make(self, name: str, cidrs: tuple[str, ...] = ()) -> CiliumNodeView:
        self._version += 1
        view = CiliumNodeView(
            name=name,
            uid=f"uid-{self._version}",
            version=str(self._version),
            created=f"2026-01-01T00:{self._version // 60:02}:{self._version % 60:02}Z",
            pod_cidrs=cidrs,
        )
        self.objects[name] = view
        self.first[view.uid] = view
        return view

    def remove(self, name: str) -> None:
        self.objects.pop(name, None)

    async def read(self, name: str) -> CiliumNodeView | None:
        self._boundary()
        return self.objects.get(name)

    async def write_cidrs(self, name: str, version: str, cidrs: list[str]) -> CiliumNodeView:
        return self._write(name, version, pod_cidrs=tuple(cidrs))

    async def write_error(self, name: str, version: str, error: str) -> CiliumNodeView:
        return self._write(name, version, error=error)

    def _write(self, name: str, version: str, **fields: object) -> CiliumNodeView:
        self._boundary()
        current = self.objects.get(name)
        if current is None:
            raise ApiError(404, "NotFound", "gone", name)
        if current.version != version:
            raise ApiError(409, "Conflict", "changed", name)
        self._version += 1
        changed = msgspec.structs.replace(current, version=str(self._version), **fields)
        self.objects[name] = changed
        self._boundary()
        return changed

    def _boundary(self) -> None:
        if self.crash_at == 0:
            self.crash_at = -1
            raise Crash
        self.crash_at -= 1
