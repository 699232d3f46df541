# SPDX-License-Identifier: Apache-2.0
"""Puts updates of the node-state stream into the directory. Pure, event loop only."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from cilium_core.addresses import pack_address
from cilium_core.proto import nodestate_pb2 as pb
from cilium_hubble.state.directory import Directory, Endpoint, Frontend, Peer
from cilium_hubble.state.model import Node, Origin, ServiceName, Workload
from cilium_hubble.state.rules import Ports, Rule


class Note(Protocol):
    """Who hears of changes."""

    def epoch(self, before: str, now: str) -> None:
        """Hear of the epoch of an update, before it is applied."""

    def change(self, change: pb.Change) -> AbstractContextManager[None]:
        """Hear of a change, which is applied in the block."""
        ...


Key = tuple[str, int | str | tuple[int, int]]


class Applier:
    """Applies updates in order and knows where the stream can be resumed.

    `epoch` and `revision` name the last state that was applied completely: a snapshot counts when
    its last piece is in, and only then is removed what none of its pieces named.
    """

    def __init__(self, directory: Directory, note: Note | None = None) -> None:
        """Nothing is applied yet: the first stream must be a snapshot.

        `note` is told of each change that is applied once a whole state was, by a function to call
        after it.
        """
        self._note = note
        self.epoch = ""
        self.revision = 0
        self.synced = asyncio.Event()  # a complete state was applied once
        self._directory = directory
        self._policies: set[tuple[int, int]] = set()
        self._named: set[Key] | None = None

    def begin(self) -> pb.WatchRequest:
        """Forget an unfinished snapshot; return the request that goes on from what is complete."""
        self._named = None
        return pb.WatchRequest(epoch=self.epoch, revision=self.revision)

    def apply(self, update: pb.Update) -> None:
        """Apply one piece."""
        if update.kind != pb.Update.DELTA and self._named is None:
            self._named = set()
        if self._note is not None and self.synced.is_set():
            self._note.epoch(self.epoch, update.epoch)
        for change in update.changes:
            with self._noted(change):
                key = self._remove(change) if change.removed else self._put(change)
            if self._named is not None:
                self._named.add(key)
        if update.kind == pb.Update.SNAPSHOT:
            return
        if update.kind == pb.Update.SNAPSHOT_END:
            self._remove_unnamed(self._named or set())
            self._named = None
        self.epoch, self.revision = update.epoch, update.revision
        self.synced.set()

    def _noted(self, change: pb.Change) -> AbstractContextManager[None]:
        if self._note is None or not self.synced.is_set():
            return nullcontext()
        return self._note.change(change)

    def _put(self, change: pb.Change) -> Key:
        known = self._directory
        match change.WhichOneof("object"):
            case "node":
                node = change.node
                known.put_node(Node(node.name, node.cluster, tuple(node.labels)))
                return "node", 0
            case "cluster_node":
                known.cluster.put(change.cluster_node.name, change.cluster_node.address)
                return "cluster_node", change.cluster_node.name
            case "endpoint":
                known.put_endpoint(_endpoint(change.endpoint))
                return "endpoint", change.endpoint.id
            case "identity":
                known.put_identity(change.identity.id, tuple(change.identity.labels))
                return "identity", change.identity.id
            case "prefix":
                prefix = change.prefix
                workload = _workload(prefix) if prefix.HasField("workload") else None
                peer = Peer(prefix.identity, prefix.namespace, prefix.pod, workload)
                known.put_prefix(prefix.prefix, peer)
                return "prefix", prefix.prefix
            case "service":
                service = change.service
                frontends = tuple(
                    Frontend(pack_address(f.address), f.port, f.protocol) for f in service.frontends
                )
                name = ServiceName(service.namespace, service.name)
                known.put_service(service.id, name, frontends)
                return "service", service.id
            case "policy":
                policy = change.policy
                rules = tuple(_rule(rule) for rule in policy.rules)
                known.rules.put(policy.number, policy.revision, rules)
                self._policies.add((policy.number, policy.revision))
                return "policy", (policy.number, policy.revision)
        return "unknown", 0  # of a newer agent: not ours to name flows by

    def _remove(self, change: pb.Change) -> Key:
        known = self._directory
        match change.WhichOneof("object"):
            case "cluster_node":
                known.cluster.remove(change.cluster_node.name)
            case "endpoint":
                known.remove_endpoint(change.endpoint.id)
            case "identity":
                known.remove_identity(change.identity.id)
            case "prefix":
                known.remove_prefix(change.prefix.prefix)
            case "service":
                known.remove_service(change.service.id)
            case "policy":
                self._remove_policy(change.policy.number, change.policy.revision)
        return "removed", 0

    def _remove_policy(self, number: int, revision: int) -> None:
        self._directory.rules.remove(number, revision)
        self._policies.discard((number, revision))

    def _remove_unnamed(self, named: set[Key]) -> None:
        known = self._directory
        gone: list[pb.Change] = [
            pb.Change(cluster_node=pb.ClusterNode(name=name), removed=True)
            for name in known.cluster.addresses
            if ("cluster_node", name) not in named
        ]
        gone += [
            pb.Change(endpoint=pb.Endpoint(id=number), removed=True)
            for number in known.endpoints
            if ("endpoint", number) not in named
        ]
        gone += [
            pb.Change(identity=pb.Identity(id=number), removed=True)
            for number in known.identities
            if ("identity", number) not in named
        ]
        gone += [
            pb.Change(prefix=pb.Prefix(prefix=prefix), removed=True)
            for prefix in known.prefixes
            if ("prefix", prefix) not in named
        ]
        gone += [
            pb.Change(service=pb.Service(id=number), removed=True)
            for number in known.services
            if ("service", number) not in named
        ]
        gone += [
            pb.Change(policy=pb.Policy(number=number, revision=revision), removed=True)
            for number, revision in self._policies
            if ("policy", (number, revision)) not in named
        ]
        for change in gone:
            with self._noted(change):
                self._remove(change)


def _endpoint(message: pb.Endpoint) -> Endpoint:
    return Endpoint(
        message.id,
        message.namespace,
        message.pod,
        message.identity,
        tuple(message.labels),
        tuple(pack_address(address) for address in message.addresses),
        _workload(message) if message.HasField("workload") else None,
    )


def _workload(message: pb.Endpoint | pb.Prefix) -> Workload:
    return Workload(message.workload.kind, message.workload.name)


def _rule(message: pb.Rule) -> Rule:
    origin = message.origin
    return Rule(
        message.direction,
        message.deny,
        tuple(Ports(ports.protocol, ports.first, ports.last) for ports in message.ports),
        None if message.any_peer else tuple((peer.word, peer.mask) for peer in message.peers),
        Origin(origin.kind, origin.namespace, origin.name, origin.field),
    )
