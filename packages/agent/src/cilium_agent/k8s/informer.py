# SPDX-License-Identifier: Apache-2.0
"""A local copy of one collection, with handlers for each change.

Handlers are plain functions on the event loop: they note what changed and return; work is done
by the tasks that they wake. `(None, new)` is an addition, `(old, None)` a removal. A relist is
turned into the same calls, so handlers never see the difference.

What an object says is the handlers' to check, and to leave out with a word in the log. One that
raises has a mistake in it: that is logged with its trace and counted, the other handlers and
objects go on, and the next change of the object is a new attempt. To end the process on purpose
is for tasks, not for handlers.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import structlog

from cilium_agent.k8s.watch import Changed, Deleted, Listed, Reflector

log = structlog.get_logger(__name__)


class HasName(Protocol):
    """metadata as every kind has it."""

    @property
    def name(self) -> str: ...

    @property
    def namespace(self) -> str: ...


class HasMeta(Protocol):
    """An object with metadata."""

    @property
    def metadata(self) -> HasName: ...


T = TypeVar("T", bound=HasMeta)
Key = tuple[str, str]
Handler = Callable[[T | None, T | None], None]


def key_of(item: HasMeta) -> Key:
    """Return (namespace, name)."""
    return item.metadata.namespace, item.metadata.name


class Informer(Generic[T]):
    """Follows a Reflector. `synced` is set after the first list went through the handlers."""

    def __init__(self, scope: str, reflector: Reflector[T]) -> None:
        """`scope` names the kind in metrics and status.

        `events` counts changes by action and `faults` the handlers' failures; `faulty` says of
        which objects the present state was not taken in, and why.
        """
        self.scope = scope
        self.synced = asyncio.Event()
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.faulty: dict[Key, str] = {}
        self.last_event = 0.0
        self._reflector = reflector
        self._store: dict[Key, T] = {}
        self._handlers: list[Handler[T]] = []

    @property
    def items(self) -> Mapping[Key, T]:
        """A read-only view of the copy."""
        return MappingProxyType(self._store)

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object of the copy."""
        return self._store.get((namespace, name))

    def on_change(self, handler: Handler[T]) -> None:
        """Add a handler; it is told of what is there already."""
        for item in self._store.values():
            self._call(handler, None, item)
        self._handlers.append(handler)

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        async for event in self._reflector.events():
            self.last_event = time.time()
            match event:
                case Listed(items):
                    self._replace(items)
                    self.synced.set()
                case Changed(item):
                    self._set(item)
                case Deleted(namespace, name):
                    self._drop((namespace, name))

    def _replace(self, items: list[T]) -> None:
        listed = {key_of(item) for item in items}
        for key in [key for key in self._store if key not in listed]:
            self._drop(key)
        for item in items:
            self._set(item)

    def _set(self, item: T) -> None:
        key = key_of(item)
        old = self._store.get(key)
        self.events["update" if old is not None else "create"] += 1
        self._store[key] = item
        if old != item:
            self._tell(key, old, item)

    def _drop(self, key: Key) -> None:
        old = self._store.pop(key, None)
        if old is not None:
            self.events["delete"] += 1
            self._tell(key, old, None)

    def _tell(self, key: Key, old: T | None, new: T | None) -> None:
        self.faulty.pop(key, None)
        for handler in self._handlers:
            self._call(handler, old, new)

    def _call(self, handler: Handler[T], old: T | None, new: T | None) -> None:
        item = new if new is not None else old
        assert item is not None
        try:
            handler(old, new)
        except Exception as error:
            action = "create" if old is None else "delete" if new is None else "update"
            self.faults[action] += 1
            self.faulty[key_of(item)] = repr(error)
            log.exception(
                "change of an object not taken in",
                kind=self.scope,
                object="/".join(filter(None, key_of(item))),
                handler=getattr(handler, "__qualname__", repr(handler)),
            )
