# SPDX-License-Identifier: Apache-2.0
"""Addresses as the kernel maps hold them: 128 bits, IPv4 mapped into ::ffff:0:0/96.

One form for both families keeps every map and every comparison free of a family column.
Pure functions, no state.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from cilium_core.errors import FieldError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

V4_MAPPED_PREFIX = bytes(10) + b"\xff\xff"
V4_MAPPED_BITS = 96
UNSPECIFIED = bytes(16)


def parse_address(field: str, text: str) -> Address:
    """Return the address written as `text`. FieldError (naming `field`) for anything else.

    An address with a zone (`fe80::1%eth0`) means nothing to other nodes and is an error.
    """
    try:
        if "%" not in text:
            return ip_address(text.strip())
    except ValueError:
        pass
    raise FieldError(field, f"{text.strip()!r} is not an address")


def pack_address(address: Address | str) -> bytes:
    """Return the 16 bytes of an address, IPv4 mapped. ValueError for text that is no address."""
    parsed = ip_address(address) if isinstance(address, str) else address
    if isinstance(parsed, IPv4Address):
        return V4_MAPPED_PREFIX + parsed.packed
    return parsed.packed


def unpack_address(raw: bytes) -> Address:
    """Return the address held in 16 map bytes; a mapped address comes back as IPv4."""
    if raw[:12] == V4_MAPPED_PREFIX:
        return IPv4Address(raw[12:])
    return IPv6Address(raw)


def pack_network(network: Network | str) -> tuple[int, bytes]:
    """Return (prefix length in 128-bit terms, 16 bytes) as an LPM key wants them."""
    parsed = ip_network(network) if isinstance(network, str) else network
    offset = V4_MAPPED_BITS if isinstance(parsed, IPv4Network) else 0
    return offset + parsed.prefixlen, pack_address(parsed.network_address)


def unpack_network(prefixlen: int, raw: bytes) -> Network:
    """Return the network of an LPM key. A prefix shorter than 96 bits is always IPv6."""
    if raw[:12] == V4_MAPPED_PREFIX and prefixlen >= V4_MAPPED_BITS:
        return IPv4Network((raw[12:], prefixlen - V4_MAPPED_BITS))
    return IPv6Network((raw, prefixlen))
