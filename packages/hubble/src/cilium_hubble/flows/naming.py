# SPDX-License-Identifier: Apache-2.0
"""From the columns of a batch to interned numbers: parties, services, rules that decided.

Each class is a cache in front of the directory, keyed by the raw bytes of the columns that matter,
and drops what a change of the directory may have made wrong. Event loop only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilium_core.layouts.events import EventFlag
from cilium_hubble.flows.interned import Interned
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.directory import Directory, Frontend
from cilium_hubble.state.model import Origin, Party, ServiceName
from cilium_hubble.state.rules import Decision

Numbers = NDArray[np.uint32]
_CACHED = 1 << 16  # entries of one cache, then it starts anew
_ICMP = (1, 58)


def _keys(*columns: NDArray[Any]) -> list[bytes]:
    """Return the bytes of each row of some columns, end to end."""
    count = len(columns[0])
    parts = [np.ascontiguousarray(column).view("u1").reshape(count, -1) for column in columns]
    joined = np.concatenate(parts, axis=1)
    keys: list[bytes] = joined.view(f"V{joined.shape[1]}").ravel().tolist()
    return keys


def _numbers(found: dict[bytes, int], keys: list[bytes]) -> Numbers:
    return np.fromiter(map(found.__getitem__, keys), "u4", len(keys))


class Parties(dict[bytes, int]):
    """Key: 16 address bytes and the identity. A miss asks the directory."""

    def __init__(self, directory: Directory, parties: Interned[Party]) -> None:
        """Follow the directory's changes."""
        super().__init__()
        self._directory = directory
        self._parties = parties
        self._by_address: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._by_identity: defaultdict[bytes, set[bytes]] = defaultdict(set)
        directory.on_change(self._changed)

    def of(self, addresses: NDArray[Any], identities: NDArray[Any]) -> Numbers:
        """Return the party numbers of a batch's side."""
        if len(self) > _CACHED:
            self.forget()
        return _numbers(self, _keys(addresses, identities)) if len(addresses) else _none(0)

    def __missing__(self, key: bytes) -> int:
        """Ask who it is and remember."""
        address, identity = key[:16], key[16:]
        party = self._directory.party(address, int.from_bytes(identity, "little"))
        self[key] = number = self._parties.number(party)
        self._by_address[address].add(key)
        # An address alone stands for the identity that the directory knows of it.
        self._by_identity[party.identity.to_bytes(4, "little")].add(key)
        return number

    def forget(self) -> None:
        """Know nothing any more."""
        self.clear()
        self._by_address.clear()
        self._by_identity.clear()

    def _changed(self, address: bytes | None, identity: int | None) -> None:
        if address is not None:
            stale = self._by_address.pop(address, set())
        elif identity is not None:
            stale = self._by_identity.pop(identity.to_bytes(4, "little"), set())
        else:
            self.forget()
            return
        for key in stale:
            self.pop(key, None)


class Services:
    """Service names by number and by frontend; few of either, so nothing is cached."""

    def __init__(self, directory: Directory, services: Interned[ServiceName]) -> None:
        """Read the directory's tables as they are."""
        self._directory = directory
        self._services = services

    def of_numbers(self, numbers: NDArray[Any]) -> Numbers:
        """Return the name numbers of service numbers; 0 for none and the unknown."""
        names = _none(len(numbers))
        for number in np.unique(numbers):
            known = self._directory.services.get(int(number))
            if known is not None:
                names[numbers == number] = self._services.number(known[0])
        return names

    def of_frontends(
        self, addresses: NDArray[Any], ports: NDArray[Any], protocols: NDArray[Any]
    ) -> Numbers:
        """Return the name numbers of those addresses and ports that are a service's frontend."""
        names = _none(len(addresses))
        frontends, heads = self._directory.frontends, self._directory.service_addresses
        if not frontends or not len(addresses):
            return names
        for index, address in enumerate(_keys(addresses)):
            if address in heads:
                name = frontends.get(Frontend(address, int(ports[index]), int(protocols[index])))
                names[index] = self._services.number(name) if name is not None else 0
        return names

    def forget(self) -> None:
        """Nothing is remembered."""


class Attributions(dict[bytes, int]):
    """Key: everything that chooses a rule. A miss asks the directory's rule book."""

    def __init__(self, directory: Directory, origins: Interned[tuple[Origin, ...]]) -> None:
        """Read the directory's rule book."""
        super().__init__()
        self._book = directory.rules
        self._origins = origins
        self._version = self._book.version

    def of(self, events: Rows) -> Numbers:
        """Return the numbers of the rules that decided."""
        if not len(events):
            return _none(0)
        if len(self) > _CACHED or self._version != self._book.version:
            self._version = self._book.version
            self.clear()
        deny = (events["subtype"] != 0) & ((events["flags"] & int(EventFlag.AUDIT)) == 0)
        ports = np.where(np.isin(events["proto"], _ICMP), events["icmp_type"], events["dport"])
        names = ("policy", "revision", "bits", "word", "direction", "proto")
        columns = [events[name] for name in names]
        return _numbers(self, _keys(*columns, ports.astype("u2"), deny.astype("u1")))

    def __missing__(self, key: bytes) -> int:
        """Ask which rules decided and remember."""
        record = np.frombuffer(key, _DECISION)[0]
        decision = Decision(
            policy=int(record["policy"]),
            revision=int(record["revision"]),
            direction=int(record["direction"]),
            protocol=int(record["proto"]),
            port=int(record["port"]),
            word=int(record["word"]),
            bits=int(record["bits"]),
            deny=bool(record["deny"]),
        )
        self[key] = number = self._origins.number(self._book.deciders(decision))
        return number

    def forget(self) -> None:
        """Know nothing any more."""
        self.clear()


_DECISION = np.dtype(
    [
        ("policy", "u4"),
        ("revision", "u4"),
        ("bits", "u8"),
        ("word", "u4"),
        ("direction", "u1"),
        ("proto", "u1"),
        ("port", "u2"),
        ("deny", "u1"),
    ]
)


def _none(count: int) -> Numbers:
    return np.zeros(count, "u4")
