# SPDX-License-Identifier: Apache-2.0
"""The file of segments: SQLite in WAL mode through SQLModel, within a byte and an age budget.

What was committed survives a kill. A file that is not ours, of another version or damaged is moved
aside (one such is kept) and an empty one takes its place. Blocking: `writer` calls it from threads,
all that changes the file from one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine, event, func, text
from sqlalchemy import select as select_columns
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, create_engine, delete, insert, select

log = structlog.get_logger(__name__)

VERSION = 1
_APPLICATION = 0x43_48_42_4C  # "CHBL": tells SQLite files apart
_BESIDE = 8 << 20  # of the byte budget: for the log of changes that SQLite keeps beside the file
_LOG_BYTES = 4 << 20
_SPARE = 32  # the 32nd part of the budget is freed at once: fewer deletions


class _Base(SQLModel, registry=registry()):
    """Tables of this file only."""


class SegmentRow(_Base, table=True):
    """Rows of one run of hubble, end to end. Times are ns since the epoch."""

    __tablename__ = "segment"
    id: int | None = Field(default=None, primary_key=True)
    head: int  # names the run
    first: int
    rows: int
    flows: int
    begins: int
    ends: int = Field(index=True)
    size: int
    packed: bytes


class Meta(NamedTuple):
    """A segment without its bytes. Ids grow in the order of writing."""

    id: int
    head: int
    first: int
    rows: int
    begins: int
    ends: int


class Total(NamedTuple):
    """What the file holds, and what it and its log take on the disk."""

    flows: int
    bytes: int


class Unusable(Exception):
    """The file cannot be used; the text says why."""


class Database:
    """One open file."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file, making it when there is none. OSError when the folder does not let us."""
        self._path = path
        self._limit = max_bytes - _BESIDE
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = _open(path)
        except (DatabaseError, Unusable) as error:
            if isinstance(error, OperationalError):
                raise OSError(f"{path}: {error.orig}") from error
            self._replace(str(error))

    def _replace(self, reason: str) -> None:
        aside = move_aside(self._path)
        log.error(
            "the flow history cannot be used; it was moved aside and a new one begun",
            file=str(self._path),
            moved_to=str(aside),
            reason=reason,
        )
        self._engine = _open(self._path)

    def add(self, segments: Sequence[dict[str, Any]]) -> None:
        """Write segments in one transaction, after the oldest made way. OSError when it fails."""
        coming = sum(len(segment["packed"]) for segment in segments)
        try:
            with self._engine.begin() as connection:
                self._make_room(connection, coming)
                connection.execute(insert(SegmentRow), list(segments))
        except OperationalError as error:  # disk full, locked: the file itself is well
            raise OSError(str(error.orig)) from error
        except DatabaseError as error:
            self._engine.dispose()
            self._replace(str(error.orig))
            raise OSError(str(error.orig)) from error

    def prune(self, oldest: int) -> None:
        """Delete what ended before a time (ns) or is above the budget; give the space back."""
        with contextlib.suppress(OperationalError), self._engine.begin() as connection:
            connection.execute(delete(SegmentRow).where(col(SegmentRow.ends) < oldest))
            self._make_room(connection, 0)
        with contextlib.suppress(OperationalError), self._engine.connect() as connection:
            free = _pragma(connection, "freelist_count")
            if free * _SPARE > _pragma(connection, "page_count"):
                driver: Any = connection.connection.driver_connection
                driver.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page

    def _make_room(self, connection: Connection, coming: int) -> None:
        size = _pragma(connection, "page_size")
        while True:
            pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
            missing = pages * size + coming - self._limit
            if missing <= 0:
                return
            missing += self._limit // _SPARE
            oldest = connection.execute(
                select(SegmentRow.id, SegmentRow.size).order_by(col(SegmentRow.id)).limit(4096)
            )
            last = None
            for number, length in oldest:
                last, missing = number, missing - length
                if missing <= 0:
                    break
            if last is None:
                return
            connection.execute(delete(SegmentRow).where(col(SegmentRow.id) <= last))

    def metas(self, since: int, until: int, head: int, below: int) -> list[Meta]:
        """Return segments that touch a span of time, in the order of writing.

        Of the run `head` only those that begin before row `below`.
        """
        asked = (
            select_columns(*(col(getattr(SegmentRow, name)) for name in Meta._fields))
            .where(col(SegmentRow.ends) >= since, col(SegmentRow.begins) <= until)
            .where((col(SegmentRow.head) != head) | (col(SegmentRow.first) < below))
            .order_by(col(SegmentRow.id))
        )
        with self._reading() as connection:
            return [Meta(*row) for row in connection.execute(asked)]

    def holding(self, head: int, first: int, last: int) -> list[Meta]:
        """Return the segments with rows `first` to `last` of a run, in the order of writing."""
        asked = (
            select_columns(*(col(getattr(SegmentRow, name)) for name in Meta._fields))
            .where(col(SegmentRow.head) == head, col(SegmentRow.first) <= last)
            .where(col(SegmentRow.first) + col(SegmentRow.rows) > first)
            .order_by(col(SegmentRow.id))
        )
        with self._reading() as connection:
            return [Meta(*row) for row in connection.execute(asked)]

    def packed(self, number: int) -> bytes | None:
        """Return a segment's bytes; None when it made way or cannot be read."""
        asked = select(SegmentRow.packed).where(col(SegmentRow.id) == number)
        with self._reading() as connection:
            found: bytes | None = connection.execute(asked).scalar()
        return found

    def total(self) -> Total:
        """Count."""
        with self._reading() as connection:
            flows = connection.execute(select(func.sum(SegmentRow.flows))).scalar() or 0
        taken = 0
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                taken += self._path.with_name(self._path.name + suffix).stat().st_size
        return Total(int(flows), taken)

    @contextlib.contextmanager
    def _reading(self) -> Any:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DatabaseError as error:
            raise OSError(f"{self._path}: {error.orig}") from error

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def move_aside(path: Path) -> Path:
    """Rename a file and what SQLite has beside it, in the place of an older one."""
    aside = path.with_name(f"{path.name}.unusable")
    for suffix in ("", "-wal", "-shm"):
        aside.with_name(aside.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _open(path: Path) -> Engine:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    os.chmod(path, 0o600)  # SQLite gives the files beside it the same
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for setting in (
            "auto_vacuum=INCREMENTAL",
            "journal_mode=WAL",
            "synchronous=NORMAL",  # a kill loses nothing, a power cut the last seconds
            f"journal_size_limit={_LOG_BYTES}",
        ):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    try:
        with engine.begin() as connection:
            _check(connection)
            _Base.metadata.create_all(connection)
            connection.execute(text(f"PRAGMA application_id={_APPLICATION}"))
            connection.execute(text(f"PRAGMA user_version={VERSION}"))
            connection.execute(select(SegmentRow).limit(1)).first()
    except BaseException:
        engine.dispose()
        raise
    return engine


def _check(connection: Connection) -> None:
    found, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
    tables = connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar()
    if tables and found != _APPLICATION:
        raise Unusable("it is another program's")
    if tables and version != VERSION:
        raise Unusable(f"it is of version {version}, this hubble writes {VERSION}")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
