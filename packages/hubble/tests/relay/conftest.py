# SPDX-License-Identifier: Apache-2.0
"""Short pauses, so that tests of nodes that go need not wait."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cilium_hubble.relay import nodes, peers, status

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(nodes, "CHECK_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(peers, "CHECK_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(peers, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(peers, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(peers, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(status, "WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(status, "ERROR_WINDOW_SECONDS", 0.1)
