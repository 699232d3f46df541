# SPDX-License-Identifier: Apache-2.0
"""The package is installed under its own name and version, and tells that version."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from cilium_hubble.version import VERSION


def test_version_is_the_changelogs() -> None:
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## {version('cilium-hubble')}" in changelog.read_text()
    assert version("cilium-hubble") == VERSION
