# SPDX-License-Identifier: Apache-2.0
"""Which labels the identity of an address outside the cluster has.

They are those of the longest prefix that a policy or a CIDR group names: the prefix, all that
cover it, the groups of any of these, and the world. An address in none is the world alone. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from cilium_core.addresses import Address, Network
from cilium_core.labels import LabelSet
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.language import CIDRGroup


class Outside:
    """Prefixes and what they mean."""

    def __init__(
        self, prefixes: Iterable[Network], groups: Iterable[CIDRGroup], dual_stack: bool
    ) -> None:
        """Take the prefixes that policies name, and the groups."""
        self._dual_stack = dual_stack
        self._groups: defaultdict[Network, LabelSet] = defaultdict(dict)
        for group in groups:
            for prefix in group.prefixes:
                self._groups[prefix].update(group.labels)
        self._known: defaultdict[tuple[int, int], dict[int, Network]] = defaultdict(dict)
        for one in {*prefixes, *self._groups}:
            shift = one.max_prefixlen - one.prefixlen
            known = self._known[one.version, one.prefixlen]
            known[int(one.network_address) >> shift] = one
        self._lengths = sorted(self._known, reverse=True)
        self._labels: dict[Network, LabelSet] = {}

    def labels(self, address: Address) -> LabelSet:
        """Return the labels of the identity of an address."""
        everything = ip_network(f"{address}/0", strict=False)
        return self._of(next(self._covering(address), everything))

    def exact(self, address: Address) -> LabelSet:
        """Return the labels of an address that has an identity to itself."""
        return self._of(ip_network(address))

    def _covering(self, address: Address, longest: int = 128) -> Iterator[Network]:
        """Yield the known prefixes that cover an address, longest first."""
        number, bits = int(address), address.max_prefixlen
        for version, length in self._lengths:
            if version == address.version and length <= longest:
                prefix = self._known[version, length].get(number >> bits - length)
                if prefix is not None:
                    yield prefix

    def _of(self, prefix: Network) -> LabelSet:
        if prefix not in self._labels:
            labels = cidr_labels(prefix, dual_stack=self._dual_stack)
            for one in self._covering(prefix.network_address, prefix.prefixlen):
                labels |= self._groups.get(one, {})
            self._labels[prefix] = labels
        return self._labels[prefix]
