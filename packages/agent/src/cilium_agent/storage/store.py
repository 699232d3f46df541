# SPDX-License-Identifier: Apache-2.0
"""The endpoint table on disk: SQLite in WAL mode behind one writer thread.

Every call runs on that thread, in the order of the calls, and returns when SQLite has it; the
event loop never waits for the disk. A file that SQLite cannot read is moved aside and an empty
one takes its place. Rows may thus be missing at any start, as when the file was removed: a missing
row never means that there is no endpoint (`endpoints.restore` asks the kernel).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, event, text
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session, SQLModel, col, create_engine, delete, select

from cilium_agent.model import Endpoint, EndpointState
from cilium_agent.storage.rows import (
    EndpointRow,
    Given,
    GivenRow,
    given_by,
    to_endpoint,
    to_given,
    to_values,
)

log = structlog.get_logger(__name__)
T = TypeVar("T")


class EndpointStore:
    """Endpoint rows by host interface. Open with `await EndpointStore.open(path)`."""

    def __init__(self, path: Path) -> None:
        """Name the file; `open` makes or reads it."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._engine: Engine | None = None

    @classmethod
    async def open(cls, path: Path) -> EndpointStore:
        """Open the file, making it when absent and moving it aside when it cannot be read."""
        store = cls(path)
        await store._run(store._open)
        return store

    async def load(self) -> list[Endpoint]:
        """Return all endpoints by id."""
        return await self._run(self._load)

    async def last_given(self) -> Given:
        """Return the id and the addresses of the endpoint that was begun last."""
        return await self._run(self._last_given)

    async def put(self, endpoint: Endpoint) -> None:
        """Write the endpoint's row, replacing an older one of the same host interface.

        With one that is being created goes a note of what it was given (`last_given`).
        """
        given = given_by(endpoint) if endpoint.state is EndpointState.CREATING else []
        await self._run(self._put, to_values(endpoint), given)

    async def delete(self, host_interface: str) -> None:
        """Remove a row; absent is not an error."""
        await self._run(self._delete, host_interface)

    async def close(self) -> None:
        """Finish pending writes and close the file."""
        await self._run(self._close)
        self._thread.shutdown(wait=True)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: function(*arguments)
        )

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = _engine(self._path)
            self._load()
            self._last_given()
        except (DatabaseError, ValueError) as error:
            self._close()
            aside = _move_aside(self._path)
            log.error("endpoint file unreadable, moved aside", file=str(aside), error=str(error))
            self._engine = _engine(self._path)

    def _load(self) -> list[Endpoint]:
        with Session(self._required()) as session:
            rows = session.exec(select(EndpointRow).order_by(col(EndpointRow.endpoint_id)))
            return [to_endpoint(row) for row in rows]

    def _last_given(self) -> Given:
        with Session(self._required()) as session:
            return to_given(session.exec(select(GivenRow)))

    def _put(self, values: dict[str, Any], given: list[dict[str, str]]) -> None:
        with self._required().begin() as connection:
            connection.execute(_upsert(EndpointRow, "host_interface", values))
            for note in given:
                connection.execute(_upsert(GivenRow, "kind", note))

    def _delete(self, host_interface: str) -> None:
        with self._required().begin() as connection:
            connection.execute(
                delete(EndpointRow).where(col(EndpointRow.host_interface) == host_interface)
            )

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _required(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the endpoint store is closed")
        return self._engine


def _upsert(table: type[SQLModel], key: str, values: dict[str, Any]) -> Insert:
    statement = insert(table).values(**values)
    others = {name: statement.excluded[name] for name in values if name != key}
    return statement.on_conflict_do_update(index_elements=[key], set_=others)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # The rows matter after a crash of the agent; a node that loses power loses its pods too.
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    with engine.begin() as connection:
        verdict = connection.execute(text("PRAGMA quick_check")).scalar()
        if verdict != "ok":
            raise ValueError(f"quick_check: {verdict}")
        SQLModel.metadata.create_all(connection)
    return engine


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
