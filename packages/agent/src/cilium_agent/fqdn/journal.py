# SPDX-License-Identifier: Apache-2.0
"""The memory of DNS on disk: every change a line, in files of which the last is enough.

A change is handed to the kernel's page cache before the pod has its answer, some microseconds on
the event loop: no kill of this process loses one. The folder is on tmpfs, as run folders are, so no
disk is waited for. When most lines are of the past, a new file is begun with all that there is, a
piece at a time; the old one goes when that is whole. A disk that takes nothing costs the memory of
the next process, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import structlog

from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.saved import Line, line, replay

log = structlog.get_logger(__name__)

FOLDER = Path("state") / "names"  # below the run folder
SMALLEST = 1 << 20  # bytes that are never worth a new file
GROWTH = 4  # times the size that a file had when it was whole
_WHOLE = b"whole\n"  # the line behind all that there was


class Journal:
    """Files `names.<n>` of a folder. One writer; event loop only."""

    def __init__(self, folder: Path) -> None:
        """Use this folder; `read` comes first."""
        self._folder = folder
        self._lines: list[bytes] = []
        self._file = -1
        self._number = 0
        self._written = self._whole = 0
        self._failed = False

    def read(self, cache: NameCache) -> dict[int, list[str]]:
        """Put what there is into an empty cache; return which labels numbers stand for."""
        files = sorted(self._folder.glob("names.*"), key=_number)
        texts = [path.read_bytes() for path in files]
        whole = max((n for n, text in enumerate(texts) if _WHOLE in text), default=0)
        lines = [one for text in texts[whole:] for one in text.splitlines(keepends=True)]
        numbers, error = replay(cache, (one for one in lines if one != _WHOLE))
        if error is not None:
            log.warning("names after a damaged line are lost", problem=str(error))
        self._number = _number(files[-1]) if files else 0
        return numbers

    def put(self, said: Line) -> None:
        """Note a change, for `flush`."""
        self._lines.append(line(said))

    def flush(self) -> None:
        """Write what was noted; errors are told in the log. Before `begin` it waits."""
        if self._lines and self._file >= 0:
            text, self._lines = b"".join(self._lines), []
            self._write(text)

    @property
    def grown(self) -> bool:
        """Whether a new file is worth its writing."""
        return self._written > max(SMALLEST, GROWTH * self._whole)

    def begin(self, state: Callable[[], Iterable[Iterable[Line]]]) -> Iterator[None]:
        """Begin a new file with all that there is; yields between pieces.

        What is noted meanwhile goes there too: it counts whether it comes before or after its
        piece, as lines only add, and what a piece says is true when it is written.
        """
        self.flush()
        try:
            old = self._open()
        except OSError as error:
            log.error("names are not kept for the next process", error=str(error))
            return
        for piece in state():
            for said in piece:
                self.put(said)
            self.flush()
            yield
        self._lines.append(_WHOLE)
        self.flush()
        self._whole = self._written
        for path in old:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> list[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        old = list(self._folder.glob("names.*"))
        self._number += 1
        path = self._folder / f"names.{self._number}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        made = os.open(path, flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._written, self._whole = made, 0, 0
        return old

    def _write(self, text: bytes) -> None:
        try:
            if os.write(self._file, text) != len(text):
                raise OSError("written in part")
        except OSError as error:
            if not self._failed:
                log.error("names are not kept for the next process", error=str(error))
            self._failed = True
        else:
            self._failed = False
        self._written += len(text)


def _number(path: Path) -> int:
    text = path.suffix.removeprefix(".")
    return int(text) if text.isdecimal() else 0
