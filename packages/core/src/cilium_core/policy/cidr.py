# SPDX-License-Identifier: Apache-2.0
"""How prefixes look as labels: what an identity of a CIDR carries, and how to read it back.

A prefix is the key of a label of source `cidr` without a value. Keys of labels have no colons, so
an IPv6 address is written with `-` for each `:`, and with a `0` where it would begin or end with
one: `fd00::/8` is `cidr:fd00--0/8`, `::/0` is `cidr:0--0/0`. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from cilium_core.addresses import Network
from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet

SOURCE = "cidr:"


def cidr_key(network: Network) -> str:
    """Return the label key of one prefix, `cidr:10.0.0.0/8`."""
    return _key(network.version, int(network.network_address), network.prefixlen)


def network_of(key: str) -> Network | None:
    """Return the prefix that a label key stands for; None when it is no key of a prefix."""
    if not key.startswith(SOURCE):
        return None
    try:
        return ip_network(key.removeprefix(SOURCE).replace("-", ":"))
    except ValueError:
        return None


def world(version: int, *, dual_stack: bool) -> str:
    """Return the key of the label that everything outside the cluster carries.

    With both families it tells them apart (`reserved:world-ipv4`), else it is `reserved:world`.
    """
    both = Reserved.WORLD_IPV4 if version == 4 else Reserved.WORLD_IPV6
    return f"reserved:{(both if dual_stack else Reserved.WORLD).label}"


def cidr_labels(network: Network, *, dual_stack: bool) -> LabelSet:
    """Return the labels of the identity of a prefix outside the cluster.

    They are the prefix, every prefix that covers it down to `/0`, and the world. `/0` itself is
    the world and nothing else: those are the reserved identities 2, 9 and 10.
    """
    labels = {world(network.version, dual_stack=dual_stack): ""}
    if not network.prefixlen:
        return labels
    address, bits = int(network.network_address), network.max_prefixlen
    for length in range(network.prefixlen, -1, -1):
        host = bits - length
        labels[_key(network.version, address >> host << host, length)] = ""
    return labels


@lru_cache(maxsize=1 << 16)
def _key(version: int, address: int, length: int) -> str:
    # Cached for the short prefixes, which nearly all identities share.
    if version == 4:
        return f"{SOURCE}{IPv4Network((address, length))}"
    text = str(IPv6Network((address, length)).network_address).replace(":", "-")
    return f"{SOURCE}{'0' * text.startswith('-')}{text}{'0' * text.endswith('-')}/{length}"
