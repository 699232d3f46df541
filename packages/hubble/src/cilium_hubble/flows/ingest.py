# SPDX-License-Identifier: Apache-2.0
"""Turns batches of kernel events into stored rows, and names their parties as of now.

Column operations do the arithmetic; naming is one dictionary lookup per row and side, and the
directory is asked only about an address and identity that no cache knows. Event loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilium_core.layouts.events import EventFlag, EventType, TraceReason
from cilium_core.proto.access_pb2 import Record
from cilium_hubble.flows import requests
from cilium_hubble.flows.clock import boot_to_wall
from cilium_hubble.flows.connections import Connections
from cilium_hubble.flows.fqdns import Fqdns
from cilium_hubble.flows.interned import Interned
from cilium_hubble.flows.naming import Attributions, Parties, Services
from cilium_hubble.flows.payloads import Payloads
from cilium_hubble.flows.record import (
    KNOWN_TYPES,
    LOST,
    STORED,
    LostSource,
    Reply,
    Verdict,
)
from cilium_hubble.flows.store import Store
from cilium_hubble.kernel.dtypes import EVENT, Rows
from cilium_hubble.state.directory import Directory
from cilium_hubble.state.model import Origin, Party, ServiceName

_SAME = tuple(name for name in EVENT.names or () if name in (STORED.names or ()) and name != "time")
_POLICY_DROPS = (133, 181)  # POLICY_DENIED, POLICY_DENY
_BOTH = 3  # ingress and egress added up
_COLLECT_ABOVE = 4096  # interned values that are worth a look for unused ones


class Ingest:
    """The store's only writer. `unknown` counts events of types that this version does not know."""

    def __init__(
        self, store: Store, directory: Directory, clock: Callable[[], int] = boot_to_wall
    ) -> None:
        """Name parties by `directory`; `clock` gives the ns from boot time to wall time."""
        self.store = store
        self.parties: Interned[Party] = Interned(Party())
        self.services: Interned[ServiceName] = Interned(ServiceName("", ""))
        self.origins: Interned[tuple[Origin, ...]] = Interned(())
        self.fqdns: Interned[tuple[str, ...]] = Interned(())
        self.namespaces: dict[tuple[str, str], int] = {}  # (cluster, namespace) to last seen, ns
        self.payloads = Payloads()
        self.unknown = 0
        self.unusable = 0  # proxies' records that made no sense
        self._connections = Connections(self.services)
        self._fqdns = Fqdns(self.fqdns)
        self._clock = clock
        self._party_names = Parties(directory, self.parties)
        self._service_names = Services(directory, self.services)
        self._attributions = Attributions(directory, self.origins)
        self._collect_at = _COLLECT_ABOVE

    def add(self, events: Rows) -> Rows:
        """Store a batch; return its rows, those of unknown types left out."""
        known = np.isin(events["type"], KNOWN_TYPES)
        if not known.all():
            self.unknown += int(np.count_nonzero(~known))
            events = events[known]
        rows = np.zeros(len(events), STORED)
        for name in _SAME:
            rows[name] = events[name]
        rows["time"] = events["time"].astype("i8") + self._clock()
        rows["verdict"] = _verdicts(events)
        rows["reply"] = _replies(events)
        rows["direction"] = _directions(events, rows["reply"])
        self._name(rows, events)
        self._connections.learn(rows)
        self._name_by_dns(rows)
        self.store.append(rows)
        self._collect()
        return rows

    def add_requests(self, records: Sequence[Record]) -> Rows:
        """Store what proxies saw; return its rows, unusable ones left out."""
        rows, good = requests.rows_of(records, self.payloads)
        self.unusable += len(records) - len(good)
        nobody = np.zeros(len(rows), "u4")  # proxies know no identities
        for side, port in (("source", "sport"), ("destination", "dport")):
            numbers = self._party_names.of(rows[side], nobody)
            rows[f"{side}_party"] = numbers
            self._see(numbers, rows)
            rows[f"{side}_service"] = self._service_names.of_frontends(
                rows[side], rows[port], rows["proto"]
            )
        self._connections.name(rows)
        for record in good:
            self._fqdns.learn(record.l7, record.time_ns)
        self._name_by_dns(rows)
        origins = [requests.origins_of(tuple(record.origins)) for record in good]
        rows["rules"] = [self.origins.number(origin) for origin in origins]
        self.store.append(rows)
        self._collect()
        return rows

    def lost_requests(self, count: int, since: int, now: int) -> Rows:
        """Store that proxies lost some records between two times (ns)."""
        rows = np.zeros(1, STORED)
        rows["time"], rows["until"], rows["tx_packets"] = now, since, count
        rows["type"], rows["subtype"] = LOST, LostSource.PROXIES
        self.store.append(rows)
        return rows

    def lost(self, by_cpu: dict[int, int], since: int, now: int) -> Rows:
        """Store what the kernel's ring lost between two times (ns), one row a CPU."""
        rows = np.zeros(len(by_cpu), STORED)
        rows["time"], rows["until"] = now, since
        rows["type"], rows["subtype"] = LOST, LostSource.KERNEL_RING
        rows["endpoint_id"] = list(by_cpu)
        rows["tx_packets"] = list(by_cpu.values())
        self.store.append(rows)
        return rows

    def _name(self, rows: Rows, events: Rows) -> None:
        for side in ("source", "destination"):
            numbers = self._party_names.of(events[side], events[f"{side}_identity"])
            rows[f"{side}_party"] = numbers
            self._see(numbers, rows)
        answers = rows["reply"] == Reply.YES
        by_number = self._service_names.of_numbers(events["service_id"])
        for side, port, behind in (
            ("source", "sport", answers),
            ("destination", "dport", ~answers),
        ):
            by_address = self._service_names.of_frontends(
                events[side], events[port], events["proto"]
            )
            rows[f"{side}_service"] = np.where(
                by_number.astype(bool) & behind, by_number, by_address
            )
        judged = (events["type"] == EventType.POLICY_VERDICT) | (
            (events["type"] == EventType.DROP) & np.isin(events["subtype"], _POLICY_DROPS)
        )
        rows["rules"][judged] = self._attributions.of(events[judged])

    def _name_by_dns(self, rows: Rows) -> None:
        now = int(rows["time"][-1]) if len(rows) else 0
        for side in ("source", "destination"):
            rows[f"{side}_names"] = self._fqdns.of(rows[side], now)

    def _see(self, numbers: NDArray[np.uint32], rows: Rows) -> None:
        if not len(rows):
            return
        latest = int(rows["time"][-1])
        for number in set(numbers.tolist()):
            party = self.parties[number]
            if party.namespace:
                self.namespaces[party.cluster, party.namespace] = latest

    def _collect(self) -> None:
        """Forget names that no row refers to any more, when there are many."""
        if len(self.parties) + len(self.origins) < self._collect_at:
            return
        used = self.store.used
        self.parties.keep_only(used("source_party", "destination_party"))
        self.services.keep_only(used("source_service", "destination_service"))
        self.origins.keep_only(used("rules"))
        self.fqdns.keep_only(used("source_names", "destination_names"))
        for names in (self._party_names, self._service_names, self._attributions):
            names.forget()
        self._collect_at = 2 * (len(self.parties) + len(self.origins)) + _COLLECT_ABOVE


def _verdicts(events: Rows) -> NDArray[Any]:
    judged = events["type"] == EventType.POLICY_VERDICT
    audited = (events["flags"] & int(EventFlag.AUDIT)) != 0
    denied = events["subtype"] != 0
    return np.select(
        [events["type"] == EventType.DROP, judged & audited, judged & denied],
        [int(Verdict.DROPPED), int(Verdict.AUDIT), int(Verdict.DROPPED)],
        int(Verdict.FORWARDED),
    )


def _directions(events: Rows, replies: NDArray[Any]) -> NDArray[Any]:
    """Return the connections' directions: the kernel tells the packets', answers go against."""
    told = events["direction"]
    return np.where((replies == Reply.YES) & (told != 0), _BOTH - told, told)


def _replies(events: Rows) -> NDArray[Any]:
    """Return what is known of answering: of drops nothing, of verdicts that they are first."""
    traced = events["type"] == EventType.TRACE
    allowed = (events["type"] == EventType.POLICY_VERDICT) & (_verdicts(events) != Verdict.DROPPED)
    told = traced & (events["state"] != TraceReason.UNKNOWN)
    return np.select(
        [told & (events["state"] == TraceReason.REPLY), told | allowed],
        [int(Reply.YES), int(Reply.NO)],
        int(Reply.UNKNOWN),
    )
