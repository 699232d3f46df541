# SPDX-License-Identifier: Apache-2.0
"""Gate on module size: no source module over 500 lines, each opens with the licence line.

Tests and generated code are exempt from the size. Prints the median so that drift is seen.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

LIMIT = 500
LICENCE = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {".py", ".c", ".h", ".sh"}


def tracked() -> list[Path]:
    """Return the source files that git knows."""
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    paths = [Path(line) for line in listing.stdout.splitlines()]
    return [p for p in paths if p.suffix in SUFFIXES and p.exists() and "_pb2" not in p.name]


def faults(path: Path, lines: list[str]) -> list[str]:
    """Return what is wrong with one file."""
    found = []
    if lines and not any(LICENCE in line for line in lines[:3]):
        found.append(f"{path}: no licence line in its first three lines")
    if "tests" not in path.parts and len(lines) > LIMIT:
        found.append(f"{path}: {len(lines)} lines, limit {LIMIT}")
    return found


def main() -> int:
    """Print faults and the median size of source modules; 1 when there are faults."""
    contents = {path: path.read_text().splitlines() for path in tracked()}
    found = [fault for path, lines in contents.items() for fault in faults(path, lines)]
    sizes = [len(v) for p, v in contents.items() if "tests" not in p.parts and len(v) > 3]
    print("\n".join(found) or f"{len(sizes)} modules, median {statistics.median(sizes):.0f} lines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
