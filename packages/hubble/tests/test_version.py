# SPDX-License-Identifier: Apache-2.0
"""The package is installed under its own name and version."""

from importlib.metadata import version


def test_version_is_the_changelogs():
    from pathlib import Path

    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## {version('cilium-hubble')}" in changelog.read_text()
