# SPDX-License-Identifier: Apache-2.0
"""The memory of DNS as JSON, for the next run of the agent. Pure.

One document for an endpoint. Times are absolute: what has ended in between is found by the next
`end`, which keeps it for connections, as nobody has walked over these yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from cilium_core.addresses import Address
from cilium_core.errors import FieldError
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.deferred import NEVER
from cilium_core.fqdn.endpoint import EndpointNames
from cilium_core.fqdn.lookups import Lookup

VERSION = 1


class SavedLookup(msgspec.Struct, frozen=True, array_like=True):
    """An address with its time of learning and TTL."""

    address: str
    learned: float
    ttl: float


class SavedKept(msgspec.Struct, frozen=True):
    """An address kept for connections. `alive` is null when none was met yet."""

    address: str
    names: list[str]
    since: float
    alive: float | None = None


class SavedEndpoint(msgspec.Struct, frozen=True):
    """What one endpoint knows."""

    version: int = VERSION
    names: dict[str, list[SavedLookup]] = {}
    deferred: list[SavedKept] = []


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(SavedEndpoint)


def save(names: EndpointNames) -> bytes:
    """Return the document of an endpoint."""
    lookups: dict[str, list[SavedLookup]] = {}
    for name, address, lookup in names.lookups.items():
        one = SavedLookup(str(address), lookup.learned, lookup.ttl)
        lookups.setdefault(name, []).append(one)
    deferred = [
        SavedKept(
            str(address),
            sorted(kept.names),
            kept.since,
            None if kept.alive == NEVER else kept.alive,
        )
        for address, kept in names.deferred.items()
    ]
    return _encoder.encode(SavedEndpoint(names=lookups, deferred=deferred))


def restore(cache: NameCache, documents: Mapping[int, bytes]) -> dict[int, FieldError]:
    """Put documents (endpoint → JSON) into an empty cache; return those that cannot be read.

    An endpoint whose document cannot be read starts with nothing, as a new one does.
    """
    broken = {}
    for endpoint, document in documents.items():
        try:
            names = _read(cache, document)
        except (msgspec.MsgspecError, ValueError) as error:
            broken[endpoint] = FieldError(f"names of endpoint {endpoint}", str(error))
            continue
        cache.endpoints[endpoint] = names
        cache.selection.add(set(names.pairs()))
    return broken


def _read(cache: NameCache, document: bytes) -> EndpointNames:
    saved = _decoder.decode(document)
    if saved.version != VERSION:
        raise ValueError(f"version {saved.version} is not {VERSION}")
    names = EndpointNames(cache.limits)
    for name, lookups in saved.names.items():
        for one in lookups:
            lookup = Lookup(one.learned, one.ttl, one.learned + one.ttl)
            names.lookups.put(name, _address(one.address), lookup)
    for kept in saved.deferred:
        alive = NEVER if kept.alive is None else kept.alive
        for name in kept.names:
            if (name, _address(kept.address)) not in names.lookups:
                names.deferred.put(name, _address(kept.address), kept.since, alive)
    return names


def _address(text: str) -> Address:
    return ip_address(text)
