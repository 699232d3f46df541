# SPDX-License-Identifier: Apache-2.0
"""Source translation of pod traffic that leaves the cluster: the nft table `inet cilium`.

The table holds nothing else and is replaced in one transaction, so packets never see half of it.
After loading, the kernel's own listing is kept as the fingerprint; `repair` loads again when the
listing differs. Runs `nft`; one call at a time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from typing import Any

import structlog

from cilium_agent.host.errors import HostError
from cilium_agent.model import NodeAddressing
from cilium_core.addresses import Network

log = structlog.get_logger(__name__)
TABLE = "cilium"
TIMEOUT = 10.0


def ruleset(sources: Sequence[Network], native: Sequence[Network]) -> str:
    """Return the nft program: what `sources` (this node's pod CIDRs) send out is masqueraded.

    Packets towards our own devices or a pod are left alone: they stay in the cluster. So are those
    to the source's own CIDR and to `native`, networks that can route pod addresses. The rest of
    the pod pools is not: what goes to pods of other nodes is in the tunnel before it comes here,
    and the pools may hold the addresses of nodes and of outside hosts, as 10.0.0.0/8 often does.
    """
    lines = []
    for source in sources:
        word = "ip" if source.version == 4 else "ip6"
        family = sorted({str(n) for n in (source, *native) if n.version == source.version})
        lines.append(
            f"    {word} saddr {source} {word} daddr != {{ {', '.join(family)} }} masquerade"
        )
    body = "\n".join(lines)
    return (
        f"table inet {TABLE} {{}}\n"
        f"delete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        '    oifname { "lo", "cilium_*", "lxc*" } return\n'
        f"{body}\n"
        "  }\n"
        "}\n"
    )


class Masquerade:
    """The table as this node wants it."""

    def __init__(self) -> None:
        """Nothing is loaded before `load`."""
        self._program = ""
        self._listing: Any = None
        self._lock = asyncio.Lock()

    async def load(
        self, addressing: NodeAddressing, native: Sequence[Network], ipv4: bool, ipv6: bool
    ) -> None:
        """Masquerade this node's pods towards all but `native`; a family may be switched off."""
        sources: list[Network] = []
        if ipv4 and addressing.pod_v4 is not None:
            sources.append(addressing.pod_v4)
        if ipv6 and addressing.pod_v6 is not None:
            sources.append(addressing.pod_v6)
        async with self._lock:
            self._program = ruleset(sources, native) if sources else ""
            await self._put()

    async def repair(self) -> bool:
        """Load the table again when it was changed or removed. True when it had to be."""
        async with self._lock:
            if await _listing() == self._listing:
                return False
            log.warning("nft table changed by somebody else, loading it again", table=TABLE)
            await self._put()
            return True

    async def _put(self) -> None:
        if self._program:
            await _nft("-f", "-", stdin=self._program)
        else:
            await remove()
        self._listing = await _listing()


async def remove() -> None:
    """Delete the table; absent is not an error."""
    await _nft("-f", "-", stdin=f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")


async def _listing() -> Any:
    try:
        text = await _nft("-j", "list", "table", "inet", TABLE)
    except HostError:
        return None
    return _without_handles(json.loads(text))


def _without_handles(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_handles(v) for k, v in value.items() if k not in ("handle", "metainfo")}
    return [_without_handles(v) for v in value] if isinstance(value, list) else value


async def _nft(*arguments: str, stdin: str = "") -> str:
    # Not asyncio's: uvloop's pipe raises RuntimeError when nft ends before its stdin is closed.
    return await asyncio.to_thread(_run_nft, arguments, stdin)


def _run_nft(arguments: tuple[str, ...], stdin: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError("nft is not installed; the agent's image needs nftables") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"nft {' '.join(arguments)} took over {TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        raise HostError(f"nft {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
