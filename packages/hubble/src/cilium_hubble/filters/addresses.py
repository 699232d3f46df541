# SPDX-License-Identifier: Apache-2.0
"""Address and CIDR filters: prefix compares on two 64-bit halves. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np
from numpy.typing import NDArray

from cilium_core.addresses import V4_MAPPED_PREFIX, pack_network
from cilium_core.errors import FieldError
from cilium_hubble.filters.checks import Check
from cilium_hubble.flows.chunk import Chunk, Mask

_ALL = (1 << 128) - 1
_MAPPED = int.from_bytes(V4_MAPPED_PREFIX, "big") << 32, _ALL ^ 0xFFFFFFFF


def in_networks(column: str, texts: Sequence[str], path: str) -> Check:
    """Return a check that an address column is one of the addresses or in one of the CIDRs."""
    networks = [_parse(text, f"{path}[{index}]") for index, text in enumerate(texts)]

    def check(chunk: Chunk) -> Mask:
        halves = np.ascontiguousarray(chunk.rows[column]).view(">u8")
        mask = np.zeros(len(chunk), bool)
        mapped = _matches(halves, *_MAPPED)
        for network in networks:
            length, raw = pack_network(network)
            bits = _ALL ^ (_ALL >> length)
            found = _matches(halves, int.from_bytes(raw, "big"), bits)
            mask |= found & (mapped if isinstance(network, IPv4Network) else ~mapped)
        return mask

    return check


def _matches(halves: NDArray[np.uint64], value: int, bits: int) -> Mask:
    mask: Mask = np.ones(len(halves), bool)
    for column, shift in ((0, 64), (1, 0)):
        wanted, kept = (number >> shift & (1 << 64) - 1 for number in (value, bits))
        mask &= (halves[:, column] & np.uint64(kept)) == np.uint64(wanted)
    return mask


def _parse(text: str, path: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise FieldError(path, f"{text!r} is neither an address nor a CIDR") from error
