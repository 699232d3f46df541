# SPDX-License-Identifier: Apache-2.0
"""Names that pods were answered, on upstream's paths under /v1/fqdn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from fastapi import FastAPI, HTTPException

from cilium_agent.api.views import matches
from cilium_agent.fqdn.names import Names
from cilium_agent.state import AgentState
from cilium_core.addresses import Address, Network
from cilium_core.errors import CiliumError
from cilium_core.fqdn.deferred import NEVER
from cilium_core.fqdn.lookups import Pair
from cilium_core.policy.patterns import dns_name, name_pattern

SOURCES = ("lookup", "connection")  # an answer whose TTL goes on; an address that connections keep

Entry = tuple[int, Pair, dict[str, Any]]
_PATTERN = re.compile(r"[-a-zA-Z0-9_*]+(\.[-a-zA-Z0-9_*]+)*\.?")


def add(app: FastAPI, state: AgentState) -> None:
    """Add the paths to the agent's application."""

    def names() -> Names:
        if state.names is None:
            raise HTTPException(503, "names are not up yet")
        return state.names

    @app.get("/v1/fqdn/cache")
    async def cache(
        matchpattern: str = "", cidr: str = "", source: str = ""
    ) -> list[dict[str, Any]]:
        wanted = _filter(matchpattern, cidr, source)
        return _grouped(entry for entry in _entries(names()) if wanted(entry))

    @app.get("/v1/fqdn/cache/{endpoint}")
    async def cache_of(
        endpoint: str, matchpattern: str = "", cidr: str = "", source: str = ""
    ) -> list[dict[str, Any]]:
        wanted = _filter(matchpattern, cidr, source)
        found = [e.endpoint_id for e in state.endpoint_list() if matches(e, endpoint)]
        if not found:
            raise HTTPException(404, f"no endpoint {endpoint}")
        entries = (entry for entry in _entries(names()) if entry[0] == found[0])
        return _grouped(entry for entry in entries if wanted(entry))

    @app.delete("/v1/fqdn/cache")
    async def clean(matchpattern: str = "") -> dict[str, int]:
        wanted, held = _filter(matchpattern, "", ""), names()
        gone = [(number, pair) for number, pair, said in _entries(held) if wanted((0, pair, said))]
        try:
            held.clean(gone)
        except CiliumError as error:  # they are forgotten; rows go as soon as the kernel takes it
            raise HTTPException(500, str(error)) from error
        return {"removed": len(gone)}

    @app.get("/v1/fqdn/names")
    async def selectors() -> dict[str, Any]:
        asked = sorted(names().cache.selection.selectors)
        return {
            "DNSPollNames": None,
            "FQDNPolicySelectors": [
                {
                    "regexString": f"^{name_pattern(text).pattern}$",
                    "selectorString": _selector(text),
                }
                for text in asked
            ],
        }


def _entries(names: Names) -> Iterator[Entry]:
    for endpoint in sorted(names.cache.endpoints):
        held = names.cache.endpoints[endpoint]
        for name, address, lookup in held.lookups.items():
            said = {
                "source": SOURCES[0],
                "ttl": int(lookup.ttl),
                "lookup-time": _time(lookup.learned),
                "expiration-time": _time(lookup.expires),
            }
            yield endpoint, (name, address), said
        for address, kept in held.deferred.items():
            met = kept.since if kept.alive == NEVER else kept.alive
            said = {
                "source": SOURCES[1],
                "ttl": 0,
                "lookup-time": _time(met),
                "expiration-time": _time(kept.since),
            }
            for name in kept.names:
                yield endpoint, (name, address), said


def _grouped(entries: Iterator[Entry]) -> list[dict[str, Any]]:
    """Put the addresses of one answer together."""
    found: dict[tuple[Any, ...], list[Address]] = {}
    for endpoint, (name, address), said in entries:
        found.setdefault((endpoint, name, tuple(said.items())), []).append(address)
    return [
        {
            "endpoint-id": endpoint,
            "fqdn": f"{name}.",
            "ips": [str(a) for a in sorted(addresses, key=lambda a: (a.version, a.packed))],
            **dict(said),
        }
        for (endpoint, name, said), addresses in sorted(found.items(), key=lambda one: one[0][:2])
    ]


def _filter(pattern: str, cidr: str, source: str) -> Callable[[Entry], bool]:
    if pattern and not _PATTERN.fullmatch(pattern):
        raise HTTPException(400, f"matchpattern: {pattern!r} is no DNS pattern")
    if source and source not in SOURCES:
        raise HTTPException(400, f"source: {source!r} is neither {' nor '.join(SOURCES)}")
    around = _network(cidr) if cidr else None
    names = name_pattern(dns_name(pattern)) if pattern else None

    def wanted(entry: Entry) -> bool:
        _, (name, address), said = entry
        return (
            (names is None or names.fullmatch(name) is not None)
            and (around is None or address in around)
            and source in ("", said["source"])
        )

    return wanted


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise HTTPException(400, f"cidr: {error}") from error


def _selector(text: str) -> str:
    return (
        f"MatchName: , MatchPattern: {text}"
        if "*" in text
        else f"MatchName: {text}, MatchPattern: "
    )


def _time(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
