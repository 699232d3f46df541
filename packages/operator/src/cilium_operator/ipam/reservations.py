# SPDX-License-Identifier: Apache-2.0
"""Ranges that no pod CIDR may touch: those of services and the nodes' own addresses.

Each source (a ServiceCIDR, a Node, the configuration) replaces its own networks; the allocator
is told only when the union changed. Used by the IPAM task only.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from cilium_core.addresses import Network
from cilium_core.cidr import parse_network
from cilium_core.errors import FieldError
from cilium_operator.ipam.allocator import Allocator

log = structlog.get_logger("cilium_operator.ipam")


class Reservations:
    """Reserved networks by the object they come from."""

    def __init__(self, allocator: Allocator) -> None:
        """Nothing is reserved yet."""
        self._allocator = allocator
        self._sources: dict[str, tuple[Network, ...]] = {}

    def set(self, source: str, networks: Iterable[Network]) -> list[str]:
        """Replace what a source reserves; return warnings about networks that are new.

        There is a warning when a network lies in a pool (blocks are left out), and one for
        each CIDR that a node has already and that overlaps it.
        """
        wanted = tuple(networks)
        before = self._sources.get(source, ())
        if wanted == before:
            return []
        if wanted:
            self._sources[source] = wanted
        else:
            self._sources.pop(source, None)
        self._allocator.reserve(one for each in self._sources.values() for one in each)
        return [
            text
            for network in wanted
            if network not in before
            for text in self._warnings(source, network)
        ]

    def sources(self) -> list[str]:
        """Return the names of all sources."""
        return list(self._sources)

    def _warnings(self, source: str, network: Network) -> list[str]:
        pool = self._allocator.pools.get(network.version)
        if pool is None or not pool.numbers(network):
            return []
        blocks = sum(len(numbers) for numbers in pool.numbers(network))
        texts = [
            f"{network} of {source} lies in the pod CIDR pool; "
            f"{blocks} block(s) of /{pool.mask} are left out"
        ]
        for node, owned in self._allocator.owners_touching(network):
            texts.append(f"pod CIDR {owned} of node {node} overlaps {network} of {source}")
        return texts


def networks_of(source: str, texts: Iterable[str]) -> list[Network]:
    """Return the networks (or addresses) written in an object; others are logged and left out."""
    networks = []
    for text in texts:
        try:
            networks.append(parse_network(source, text))
        except FieldError as error:
            log.warning("not a range", source=source, error=str(error))
    return networks
