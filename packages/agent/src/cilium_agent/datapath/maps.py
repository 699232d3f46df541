# SPDX-License-Identifier: Apache-2.0
"""A pinned map with typed keys and values: the only way the agent touches map memory.

Calls are synchronous system calls, batched where the kernel can; a map of 100 000 entries reads
in some tens of milliseconds, so large dumps belong in a thread. One object may be used from
several threads for reading; writers are the owner's business (see `tables`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from cilium_agent.datapath import syscall
from cilium_agent.datapath.errors import KernelError, MapMismatch
from cilium_core.layouts.record import Record
from cilium_core.layouts.spec import MapKind, MapSpec

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)

_BATCH = 4096
_NO_BATCH = (errno.EOPNOTSUPP, errno.EINVAL, getattr(errno, "ENOTSUPP", 524))


class PinnedMap(Generic[K, V]):
    """One map of `cilium_core.layouts.datapath`, opened from or created at its pin."""

    def __init__(self, spec: MapSpec[K, V], fd: int) -> None:
        """Wrap an open descriptor; use `open_or_create`.

        `after_write` is called after every write, whole or not, before the call returns.
        """
        self.spec = spec
        self.fd = fd
        self.after_write: Callable[[], None] | None = None
        self._key = spec.key
        self._value = spec.value

    @classmethod
    def open_or_create(cls, spec: MapSpec[K, V], directory: Path) -> PinnedMap[K, V]:
        """Open `directory/spec.name`, or create and pin it.

        MapMismatch when the pinned map's kind, sizes or flags are not the declared ones. A sizable
        map that is pinned stays as large as it is, since programs use it, and the result's `spec`
        says how large that is.
        """
        path = directory / spec.name
        fd = syscall.obj_get(path)
        if fd is None:
            directory.mkdir(parents=True, exist_ok=True)
            fd = syscall.map_create(
                spec.kind,
                spec.key_size,
                spec.value_size,
                spec.max_entries,
                spec.flags,
                spec.name.removeprefix("cilium_"),
            )
            syscall.obj_pin(fd, path)
            return cls(spec, fd)
        try:
            info = syscall.map_info(fd)
            if spec.sizable:
                spec = replace(spec, max_entries=info.max_entries)
            _check(spec, path, info)
        except MapMismatch:
            os.close(fd)
            raise
        return cls(spec, fd)

    def lookup(self, key: K) -> V | None:
        """Return the value, or None when the key is absent."""
        raw = syscall.map_lookup(self.fd, key.pack(), self._value.SIZE)
        return None if raw is None else self._value.unpack(raw)

    def update_many(self, entries: Mapping[K, V]) -> None:
        """Write all entries in order. KernelError with ENOSPC or E2BIG when the map is full.

        Its `done` is then the number of entries that were written.
        """
        items = list(entries.items())
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            keys = b"".join(key.pack() for key, _ in part)
            try:
                self.update_raw(keys, b"".join(value.pack() for _, value in part))
            except KernelError as error:
                error.done = None if error.done is None else start + error.done
                raise

    def update_raw(self, keys: bytes, values: bytes) -> None:
        """Write entries laid end to end, in order; errors as `update_many`."""
        try:
            self._update(keys, values)
        finally:
            self._written()

    def _update(self, keys: bytes, values: bytes) -> None:
        count = len(keys) // self._key.SIZE
        if count > 1:
            try:
                syscall.map_update_batch(self.fd, keys, values, count)
                return
            except KernelError as error:
                if error.errno not in _NO_BATCH:
                    raise
        pairs = _pairs(keys, self._key.SIZE, values, self._value.SIZE)
        for index, (key, value) in enumerate(pairs):
            try:
                syscall.map_update(self.fd, key, value)
            except KernelError as error:
                error.done = index
                raise

    def delete_many(self, keys: Iterable[K]) -> None:
        """Delete the keys; an absent one is not an error."""
        raw = [key.pack() for key in keys]
        if not raw:
            return
        try:
            for key in raw:
                syscall.map_delete(self.fd, key)
        finally:
            self._written()

    def _written(self) -> None:
        if self.after_write is not None:
            self.after_write()

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield what the map holds. Entries changed meanwhile may be seen or not."""
        for key, value in self._raw_items():
            yield self._key.unpack(key), self._value.unpack(value)

    def batches(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values as they lie in memory, some thousands laid end to end at a time.

        For maps too large to make an object of each entry. Entries changed meanwhile may be
        seen or not.
        """
        size, count, cursor = self._key.SIZE, _BATCH, None
        while True:
            try:
                keys, values, done, following = syscall.map_lookup_batch(
                    self.fd, cursor, max(size, 4), size, self._value.SIZE, count
                )
            except KernelError as error:
                if error.errno == errno.ENOSPC:  # one hash bucket holds more than asked for
                    count *= 2
                    continue
                if error.errno in _NO_BATCH and cursor is None:
                    yield from self._walk()
                    return
                raise
            if done:
                yield keys, values
            if following is None:
                return
            cursor = following

    def _raw_items(self) -> Iterator[tuple[bytes, bytes]]:
        for keys, values in self.batches():
            yield from _pairs(keys, self._key.SIZE, values, self._value.SIZE)

    def _walk(self) -> Iterator[tuple[bytes, bytes]]:
        key = syscall.map_next_key(self.fd, None, self._key.SIZE)
        while key is not None:
            value = syscall.map_lookup(self.fd, key, self._value.SIZE)
            if value is not None:
                yield key, value
            key = syscall.map_next_key(self.fd, key, self._key.SIZE)

    def close(self) -> None:
        """Close the descriptor; the pin keeps the map. Twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _pairs(
    keys: bytes, key_size: int, values: bytes, value_size: int
) -> Iterator[tuple[bytes, bytes]]:
    for index in range(len(keys) // key_size):
        yield (
            keys[index * key_size : (index + 1) * key_size],
            values[index * value_size : (index + 1) * value_size],
        )


def _check(spec: MapSpec[K, V], path: Path, info: syscall.MapInfo) -> None:
    wanted = (int(spec.kind), spec.key_size, spec.value_size, spec.max_entries, spec.flags)
    found = (info.kind, info.key_size, info.value_size, info.max_entries, info.flags)
    if wanted != found:
        raise MapMismatch(
            f"{path}: pinned map is (kind, key, value, entries, flags) {found}, this version"
            f" needs {wanted} ({MapKind(spec.kind).name}); drain the node and remove the pin"
        )
