# SPDX-License-Identifier: Apache-2.0
"""The kernel's tick rate: with it programs tell the second without a call. Reads one file."""

from __future__ import annotations

import gzip
import os
import re
from functools import lru_cache
from pathlib import Path

CONFIGS = (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}"))
_HZ = re.compile(rb"^CONFIG_HZ=(\d+)$", re.MULTILINE)


@lru_cache
def kernel_hz(configs: tuple[Path, ...] = CONFIGS) -> int:
    """Return the ticks a second of the running kernel, 0 when no configuration says it."""
    for path in configs:
        try:
            raw = path.read_bytes()
            found = _HZ.search(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        except OSError:
            continue
        if found is not None:
            return int(found[1])
    return 0
