# SPDX-License-Identifier: Apache-2.0
"""Content keys: one hash for a set of files and words, so that work is skipped when unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "tests"}


def files_below(root: Path, entries: Sequence[str]) -> list[Path]:
    """Every file that `entries` (files or folders below `root`) name, sorted; no caches or tests.

    An entry that does not exist contributes nothing.
    """
    found: set[Path] = set()
    for entry in entries:
        path = root / entry
        if path.is_file():
            found.add(path)
        elif path.is_dir():
            found.update(
                child
                for child in path.rglob("*")
                if child.is_file() and not IGNORED & set(child.relative_to(path).parts)
            )
    return sorted(found)


def key_of(root: Path, files: Iterable[Path], words: Iterable[str] = ()) -> str:
    """16 hexadecimal digits over names, modes and contents of `files`, and over `words`."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(f"word {len(word)} {word}\n".encode())
    for file in files:
        data = file.read_bytes()
        mode = file.stat().st_mode & 0o111
        digest.update(f"file {file.relative_to(root)} {mode} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:16]
