# SPDX-License-Identifier: Apache-2.0
"""The way to nft, with commands that stand for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from cilium_agent.host import masquerade
from cilium_agent.host.masquerade import HostError, Masquerade


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to write the shell script that is run instead of nft."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "nft"
    path.touch(mode=0o755)
    return path


@pytest.mark.parametrize("end", ["exec 0<&-", "exit 0"])
def test_nft_may_end_before_its_input_is_closed(nft: Path, end: str) -> None:
    # In the agent's own event loop, where this once ended the agent.
    nft.write_text(f"#!/bin/sh\n{end}\n")

    async def often() -> None:
        for _ in range(20):
            await masquerade.remove()

    uvloop.run(often())


def test_what_nft_says_is_the_error(nft: Path) -> None:
    nft.write_text("#!/bin/sh\necho 'no such table' >&2\nexit 1\n")
    with pytest.raises(HostError, match="nft -f -: no such table"):
        uvloop.run(masquerade.remove())


def test_a_listing_that_fails_is_an_absent_table(nft: Path) -> None:
    nft.write_text("#!/bin/sh\nexit 1\n")
    assert uvloop.run(Masquerade().repair()) is False


def test_nft_that_hangs_is_given_up(nft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masquerade, "TIMEOUT", 0.2)
    nft.write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(HostError, match="took over"):
        uvloop.run(masquerade.remove())


def test_a_machine_without_nft(nft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft.unlink()
    monkeypatch.setenv("PATH", str(nft.parent))
    with pytest.raises(HostError, match="nftables"):
        uvloop.run(masquerade.remove())
