# SPDX-License-Identifier: Apache-2.0
"""The memory of DNS as lines of JSON, for the next run of the agent. Pure.

A line is what happened, or a piece of what there is; read in order they give the same memory. Times
are absolute: what has ended in between is found by the next `end`, which keeps it for connections,
as nobody has walked over these yet. Numbers of identities are kept beside, as the rows of the
kernel have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import msgspec

from cilium_core.addresses import Address
from cilium_core.errors import FieldError
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.deferred import NEVER
from cilium_core.fqdn.endpoint import EndpointNames
from cilium_core.fqdn.lookups import Pair


class Learned(msgspec.Struct, frozen=True, array_like=True, tag="learned"):
    """An answer that an endpoint got."""

    learned: float
    endpoint: int
    name: str
    ttl: float
    addresses: list[str]


class Kept(msgspec.Struct, frozen=True, array_like=True, tag="kept"):
    """An address kept for connections. `alive` is null when none was met yet."""

    endpoint: int
    address: str
    names: list[str]
    since: float
    alive: float | None


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """Addresses that an endpoint may not believe of a name any more."""

    endpoint: int
    name: str
    addresses: list[str]


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag="forgotten"):
    """An endpoint that is gone."""

    endpoint: int


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag="numbered"):
    """What the number of an identity stands for: its labels' keys, sorted."""

    number: int
    labels: list[str]


Line = Learned | Kept | Gone | Forgotten | Numbered

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def line(said: Line) -> bytes:
    """Return a line with its end."""
    return _encoder.encode(said) + b"\n"


def gone(endpoint: int, pairs: Iterable[Pair]) -> Iterator[Gone]:
    """Yield what to say of pairs that an endpoint lost."""
    by_name: dict[str, list[str]] = {}
    for name, address in pairs:
        by_name.setdefault(name, []).append(str(address))
    return (Gone(endpoint, name, addresses) for name, addresses in by_name.items())


def state(endpoint: int, names: EndpointNames) -> Iterator[Line]:
    """Yield what there is of an endpoint."""
    together: dict[tuple[str, float, float], list[str]] = {}
    for name, address, lookup in names.lookups.items():
        together.setdefault((name, lookup.learned, lookup.ttl), []).append(str(address))
    for (name, learned, ttl), addresses in together.items():
        yield Learned(learned, endpoint, name, ttl, addresses)
    for address, kept in names.deferred.items():
        alive = None if kept.alive == NEVER else kept.alive
        yield Kept(endpoint, str(address), sorted(kept.names), kept.since, alive)


def replay(
    cache: NameCache, lines: Iterable[bytes]
) -> tuple[dict[int, list[str]], FieldError | None]:
    """Put lines into an empty cache; return identities' labels, and what is wrong with a line.

    Nothing after a line that cannot be read counts: it is the last one, or the file is damaged.
    """
    numbers: dict[int, list[str]] = {}
    for position, text in enumerate(lines, start=1):
        try:
            _take(cache, _decoder.decode(text), numbers)
        except (msgspec.MsgspecError, ValueError) as error:
            return numbers, FieldError(f"line {position}", str(error))
    return numbers, None


def _take(cache: NameCache, said: Line, numbers: dict[int, list[str]]) -> None:
    match said:
        case Learned(learned, endpoint, name, ttl, texts):
            cache.learn(learned, endpoint, name, _addresses(texts), ttl)
        case Kept(endpoint, text, names, since, alive):
            cache.keep(endpoint, ip_address(text), names, since, NEVER if alive is None else alive)
        case Gone(endpoint, name, texts):
            cache.gone(endpoint, name, _addresses(texts))
        case Forgotten(endpoint):
            cache.forget(endpoint)
        case Numbered(number, labels):
            numbers[number] = labels


def _addresses(texts: Iterable[str]) -> list[Address]:
    return [ip_address(text) for text in texts]
