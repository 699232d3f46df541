# SPDX-License-Identifier: Apache-2.0
"""Whether this node's proxies are there, and what is dropped while one is not. Event loop only.

Envoy is asked on its admin socket, which is the node's and root's alone; its controller and the DNS
proxy are there as long as they follow (pings end the stream of one that hangs). Connections that
the kernel leads to a proxy that is dead are dropped: nothing passes unjudged.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import aiohttp

from cilium_agent.proxies.rulesets import Held, RuleSets
from cilium_core.policy.rules import L7Kind
from cilium_core.proto import proxy_pb2 as pb

ADMIN = Path("envoy/sockets/admin.sock")  # below the agent's run directory
EVERY_SECONDS = 2.0
ANSWER_SECONDS = 2.0
STARTING_SECONDS = 15.0  # what proxies may take to find a new agent
ENVOY, CONTROLLER, DNS = "proxy-envoy", "proxy-controller", "proxy-dns"
ENVOYS_KINDS = (L7Kind.HTTP, L7Kind.SNI)


class Outcome(Protocol):
    """What became of a repeated job, as the agent shows its controllers."""

    def succeeded(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class ProxyDown(Exception):
    """A proxy is not there; the text says what is dropped and where to look."""


class Proxies:
    """What is known of this node's proxies. `followers` counts streams by the kind they serve."""

    def __init__(self, node: str, installed: bool) -> None:
        """Nobody has been asked yet; not `installed` (DaemonSet cilium-envoy): nobody will be."""
        self.node, self.installed = node, installed
        self.followers: Counter[int] = Counter()
        self.envoy_error: str | None = None  # empty: it answered
        self._since = time.monotonic()

    def problems(self, rule_sets: RuleSets | None) -> Mapping[str, str]:
        """Return what is wrong with each part, empty for nothing; no parts when none is there."""
        if not self.installed:
            return {}
        held = rule_sets.all() if rule_sets is not None else []
        envoys = [one for one in held if one.rules.kind in ENVOYS_KINDS]
        names = [one for one in held if one.rules.kind == L7Kind.DNS]
        found = dict.fromkeys((ENVOY, CONTROLLER, DNS), "")
        if self.envoy_error:
            found[ENVOY] = self._down(f"Envoy does not answer ({self.envoy_error})", envoys)
        if time.monotonic() - self._since < STARTING_SECONDS:
            return found
        if not self.followers[pb.HTTP]:
            waiting = [one for one in envoys if not one.in_force]
            text = "Envoy's controller is not connected (Envoy keeps its rules, new ones wait)"
            found[CONTROLLER] = self._down(text, waiting)
        if not self.followers[pb.DNS]:
            found[DNS] = self._down("the DNS proxy is not connected", names)
        return found

    def _down(self, what: str, held: list[Held]) -> str:
        if not held:
            return f"{what} on node {self.node}; no connection is led to it now"
        kinds = ", ".join(sorted({str(one.rules.kind) for one in held}))
        sets = f"{len(held)} rule set{'s' if len(held) > 1 else ''}"
        return f"{what} on node {self.node}: what {sets} ({kinds}) govern is dropped there"


async def ask(socket: Path) -> str:
    """Ask Envoy whether it is ready; return what is wrong, or nothing."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(socket)), timeout=timeout
            ) as session,
            session.get("http://envoy/ready") as response,
        ):
            said = (await response.text()).strip()
            return "" if response.status == 200 else f"it says {said[:80]}"
    except TimeoutError:
        return f"no answer in {ANSWER_SECONDS:g} s"
    except (aiohttp.ClientError, OSError) as error:
        cause = getattr(error, "os_error", error)
        return str(getattr(cause, "strerror", "") or cause or type(error).__name__)


async def watch(
    proxies: Proxies,
    rule_sets: RuleSets,
    run_dir: Path,
    outcome: Callable[[str], Outcome],
) -> None:
    """Ask again and again until cancelled; returns at once where there are no proxies."""
    while proxies.installed:
        proxies.envoy_error = await ask(run_dir / ADMIN)
        for name, problem in proxies.problems(rule_sets).items():
            if problem:
                outcome(name).failed(ProxyDown(problem))
            else:
                outcome(name).succeeded()
        await asyncio.sleep(EVERY_SECONDS)
