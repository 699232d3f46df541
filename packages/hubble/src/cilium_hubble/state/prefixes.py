# SPDX-License-Identifier: Apache-2.0
"""Longest-prefix lookup over 128-bit addresses. Pure, one owner.

Lookups happen once an address and identity, so a dictionary a length is fast enough and plain.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Generic, TypeVar

from cilium_core.addresses import pack_network

T = TypeVar("T")
BITS = 128


class PrefixTable(Generic[T]):
    """Values by prefix; IPv4 is mapped, as everywhere."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_length: dict[int, dict[int, T]] = {}

    def put(self, prefix: str, value: T) -> None:
        """Set a prefix's value. ValueError for text that is no prefix."""
        length, bits = _parse(prefix)
        self._by_length.setdefault(length, {})[bits] = value

    def remove(self, prefix: str) -> None:
        """Forget a prefix; one that is not there is no error."""
        length, bits = _parse(prefix)
        held = self._by_length.get(length, {})
        held.pop(bits, None)
        if not held:
            self._by_length.pop(length, None)

    def find(self, address: bytes) -> T | None:
        """Return the value of the longest prefix that covers 16 address bytes."""
        number = int.from_bytes(address, "big")
        for length in sorted(self._by_length, reverse=True):
            value = self._by_length[length].get(number >> (BITS - length))
            if value is not None:
                return value
        return None


def _parse(prefix: str) -> tuple[int, int]:
    length, raw = pack_network(ip_network(prefix, strict=False))
    return length, int.from_bytes(raw, "big") >> (BITS - length)
