# SPDX-License-Identifier: Apache-2.0
"""Where the tick rate is read from."""

from __future__ import annotations

import gzip
from pathlib import Path

from cilium_agent.loader.clock import kernel_hz

TEXT = b"# a comment\nCONFIG_HZ_250=y\nCONFIG_HZ=250\nCONFIG_X=1\n"


def test_the_first_configuration_that_says_it(tmp_path: Path) -> None:
    packed, plain, silent = tmp_path / "config.gz", tmp_path / "config-6.1", tmp_path / "other"
    packed.write_bytes(gzip.compress(TEXT))
    plain.write_bytes(TEXT.replace(b"=250", b"=1000"))
    silent.write_bytes(b"CONFIG_HZ_100=y\n")
    absent = tmp_path / "absent"
    assert kernel_hz((packed, plain)) == 250
    assert kernel_hz((absent, plain)) == 1000
    assert kernel_hz((silent, packed)) == 250


def test_none_says_it(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(b"no gzip")
    assert kernel_hz((tmp_path / "absent", damaged)) == 0
