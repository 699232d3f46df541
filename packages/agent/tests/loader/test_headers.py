# SPDX-License-Identifier: Apache-2.0
"""Which kernel headers the loader takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cilium_agent.loader.headers import HeadersMissing, find_headers


def make(root: Path, name: str, *files: str) -> Path:
    for file in files:
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root / name


AUTOCONF, UAPI = "include/generated/autoconf.h", "include/uapi/linux/bpf.h"


def test_debian_splits_them(tmp_path: Path) -> None:
    make(tmp_path, "linux-headers-6.1.0-1-common", UAPI)
    make(tmp_path, "linux-headers-6.1.0-1-cloud-amd64", AUTOCONF)
    common = make(tmp_path, "linux-headers-6.1.0-9-common", UAPI)
    flavour = make(tmp_path, "linux-headers-6.1.0-9-cloud-amd64", AUTOCONF)
    assert find_headers(tmp_path) == (flavour, common)


def test_others_ship_them_whole(tmp_path: Path) -> None:
    whole = make(tmp_path, "linux-headers-6.8.0-1-generic", AUTOCONF, UAPI)
    assert find_headers(tmp_path) == (whole, whole)


def test_none_or_half_is_said(tmp_path: Path) -> None:
    make(tmp_path, "linux-headers-6.1.0-1-common", UAPI)
    with pytest.raises(HeadersMissing, match="install a linux-headers package"):
        find_headers(tmp_path)
