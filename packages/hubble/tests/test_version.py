# SPDX-License-Identifier: Apache-2.0
"""The package is installed under its own name and version."""

from importlib.metadata import version

from cilium_hubble.version import VERSION


def test_version_is_the_changelogs():
    from pathlib import Path

    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## {version('cilium-hubble')}" in changelog.read_text()


def test_what_it_tells_is_its_packages_version() -> None:
    assert version("cilium-hubble") == VERSION
