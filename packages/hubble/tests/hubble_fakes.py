# SPDX-License-Identifier: Apache-2.0
"""Rings, events and a small known node, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from cilium_core.addresses import pack_address
from cilium_core.layouts.events import EventType
from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.flows.store import Store
from cilium_hubble.kernel.dtypes import EVENT
from cilium_hubble.kernel.ring import BUSY, DISCARDED, HEADER
from cilium_hubble.state.directory import Directory, Endpoint, Frontend, Peer
from cilium_hubble.state.model import Node, Origin, ServiceName, Workload
from cilium_hubble.state.rules import Ports, Rule


def events(*rows: dict[str, Any]) -> np.ndarray:
    """Return events with these fields (addresses as text), the rest zero."""
    made = np.zeros(len(rows), EVENT)
    for index, row in enumerate(rows):
        for name, value in row.items():
            if name in ("source", "destination"):
                value = np.frombuffer(pack_address(value), "u1")
            made[name][index] = value
    return made


def trace(**fields: Any) -> dict[str, Any]:
    """Return a forwarded TCP SYN from web to db, as seen on its way to db."""
    return {
        "type": EventType.TRACE,
        "proto": 6,
        "tcp_flags": 2,
        "source": "10.0.0.10",
        "destination": "10.0.0.11",
        "source_identity": 1001,
        "destination_identity": 1002,
        "sport": 40000,
        "dport": 5432,
        "state": 1,
        "endpoint_id": 8,
        "direction": 1,
        **fields,
    }


def drop(**fields: Any) -> dict[str, Any]:
    """Return the same packet, denied."""
    return trace(**{"type": EventType.DROP, "subtype": 133, "line": 42, **fields})


def verdict(**fields: Any) -> dict[str, Any]:
    """Return a policy verdict on the same packet, allowed unless `subtype` says otherwise."""
    base = {"type": EventType.POLICY_VERDICT, "match": 2, "policy": 3, "revision": 5}
    return trace(**{**base, "word": 1, "bits": 0b100, **fields})


WEB_LABELS = ("k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=default", "k8s:tier=front")
DB_LABELS = ("k8s:app=db", "k8s:io.kubernetes.pod.namespace=data")
ALLOW_WEB = Origin("CiliumNetworkPolicy", "data", "allow-web", "spec.ingress[0]")
DENY_ALL = Origin("NetworkPolicy", "data", "deny", "spec.ingress")


def directory() -> Directory:
    """Return a node with pods shop/web-1 (id 7) and data/db-0 (id 8), a service and a policy."""
    known = Directory()
    known.put_node(Node("worker", "default", ("kubernetes.io/os=linux", "zone=a")))
    for number, labels in ((1001, WEB_LABELS), (1002, DB_LABELS), (2, ("reserved:world",))):
        known.put_identity(number, labels)
    web = Workload("Deployment", "web")
    known.put_endpoint(
        Endpoint(7, "shop", "web-1", 1001, WEB_LABELS, (pack_address("10.0.0.10"),), web)
    )
    known.put_endpoint(Endpoint(8, "data", "db-0", 1002, DB_LABELS, (pack_address("10.0.0.11"),)))
    known.put_prefix("10.0.1.20/32", Peer(1001, "shop", "web-2"))
    known.put_prefix("0.0.0.0/0", Peer(2))
    known.put_service(
        1, ServiceName("data", "db"), (Frontend(pack_address("10.96.0.10"), 5432, 6),)
    )
    ports = (Ports(6, 5432, 5432),)
    known.rules.put(3, 5, (Rule(1, False, ports, ((1, 0b110),), ALLOW_WEB),))
    return known


class Node1:
    """A store with its ingest and directory, whose wall clock is the events' time."""

    def __init__(self, capacity: int = 4095, known: Directory | None = None) -> None:
        """Start with an empty store."""
        self.directory = known or directory()
        self.store = Store(capacity)
        self.ingest = Ingest(self.store, self.directory, clock=lambda: 0)
        self.names = Names(
            self.ingest.parties,
            self.ingest.services,
            self.ingest.origins,
            FlowIds(head=1),
            lambda index: f"eth{index}" if index else "",
            lambda: self.directory.node,
            self.ingest.payloads,
            self.ingest.fqdns,
        )

    def add(self, *rows: dict[str, Any]) -> np.ndarray:
        """Take events in."""
        return self.ingest.add(events(*rows))


class PlainRing:
    """A ring in ordinary memory, written as the kernel would."""

    def __init__(self, size: int = 4096, position: int = 0) -> None:
        """Start empty at a position."""
        self.size = size
        self.data = np.zeros(2 * size, "u1")
        self.producer = np.array([position], "u8")
        self.consumer = np.array([position], "u8")

    def room(self) -> int:
        """Return the bytes that may be written."""
        return self.size - int(self.producer[0] - self.consumer[0])

    def put(self, payload: bytes, *, busy: bool = False, discarded: bool = False) -> int | None:
        """Reserve and write a record; its position, or None when there is no room."""
        length = HEADER + (len(payload) + 7) // 8 * 8
        if length > self.room():
            return None
        position = int(self.producer[0])
        flags = int(BUSY) * busy | int(DISCARDED) * discarded
        header = (len(payload) | flags).to_bytes(4, "little") + bytes(4)
        self._write(position, header + payload)
        self.producer[0] = position + length
        return position

    def commit(self, position: int, *, discarded: bool = False) -> None:
        """Take the busy bit away."""
        offset = position % self.size
        length = int.from_bytes(self.data[offset : offset + 4].tobytes(), "little") & ~int(BUSY)
        self._write(position, (length | int(DISCARDED) * discarded).to_bytes(4, "little"))

    def _write(self, position: int, raw: bytes) -> None:
        for index, byte in enumerate(raw):
            place = (position + index) % self.size
            self.data[place] = self.data[place + self.size] = byte
