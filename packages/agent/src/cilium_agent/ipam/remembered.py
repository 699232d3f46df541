# SPDX-License-Identifier: Apache-2.0
"""The pod CIDRs that this node had in use last, kept over restarts of the agent.

A CiliumNode that lost them, or is gone, must not keep the endpoints of a node from their agent
until an operator comes. Blocking, some bytes, written by renaming.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path

import msgspec
import structlog

from cilium_core.addresses import Network

log = structlog.get_logger(__name__)
FILE = Path("state") / "pod-cidrs.json"


def read(run_dir: Path) -> tuple[Network, ...]:
    """Return what was written last; nothing for a file that is absent, or damaged (a warning)."""
    path = run_dir / FILE
    try:
        texts = msgspec.json.decode(path.read_bytes(), type=list[str])
        return tuple(ip_network(text) for text in texts)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.warning("pod CIDRs of the last run are not known", path=str(path), error=str(error))
        return ()


def write(run_dir: Path, networks: Iterable[Network | None]) -> None:
    """Keep the CIDRs of the families in use (None: not in use). OSError when it cannot be kept."""
    path = run_dir / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    texts = [str(network) for network in networks if network is not None]
    fresh.write_bytes(msgspec.json.encode(texts))
    os.replace(fresh, path)
