# SPDX-License-Identifier: Apache-2.0
"""The pod CIDRs of the last run."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cilium_agent.ipam import remembered

V4, V6 = ip_network("10.0.0.0/24"), ip_network("fd00::/120")


def test_what_was_in_use_is_read_again_and_nothing_before(tmp_path: Path) -> None:
    assert remembered.read(tmp_path) == ()
    remembered.write(tmp_path, (V4, V6))
    assert remembered.read(tmp_path) == (V4, V6)
    remembered.write(tmp_path, (None, V6))
    assert remembered.read(tmp_path) == (V6,)


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', '["10.0.0.0/33"]', '["10.0.0.1/24"]'])
def test_a_damaged_file_is_told_and_says_nothing(tmp_path: Path, text: str) -> None:
    remembered.write(tmp_path, (V4,))
    (tmp_path / remembered.FILE).write_text(text)
    with capture_logs() as logs:
        assert remembered.read(tmp_path) == ()
    assert logs[0]["log_level"] == "warning"
