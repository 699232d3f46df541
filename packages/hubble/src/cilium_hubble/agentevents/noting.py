# SPDX-License-Identifier: Apache-2.0
"""From changes of the node state to agent events: what is, in fact, another than before. Pure.

A first snapshot is what there was before hubble came, and is no event; of a later one the
differences are. Policies are told by object, with the rules that are in force on this node.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cilium_core.addresses import unpack_address
from cilium_core.proto import flow_pb2 as pb
from cilium_core.proto import nodestate_pb2
from cilium_hubble.agentevents.log import EventLog
from cilium_hubble.state.directory import Directory, Endpoint, Frontend
from cilium_hubble.state.model import ServiceName
from cilium_hubble.state.rules import Rule

Object = tuple[str, str, str]  # kind, namespace, name
_POLICY = "k8s:io.cilium.k8s.policy"


class Notes:
    """Hears of the applied changes of the node state and keeps events of them."""

    def __init__(self, known: Directory, log: EventLog) -> None:
        """`known` is where changes are applied."""
        self._known = known
        self._log = log

    def epoch(self, before: str, now: str) -> None:
        """Note that the agent began anew when its epoch is another."""
        if before and before != now and now != self._told:
            self._told = now
            self._log.add([started(time.time_ns())])

    @contextmanager
    def change(self, change: nodestate_pb2.Change) -> Iterator[None]:
        """Note what applying a change in the block makes different."""
        before = State(self._known, change)
        yield
        self._log.add(between(change, before, State(self._known, change), self._known))

    _told = ""


class State:
    """What of the directory events tell, at one moment."""

    def __init__(self, known: Directory, change: nodestate_pb2.Change) -> None:
        """Look up what a change is about."""
        kind = change.WhichOneof("object")
        self.endpoint = known.endpoints.get(change.endpoint.id) if kind == "endpoint" else None
        self.prefix = known.prefixes.get(change.prefix.prefix) if kind == "prefix" else None
        self.service = known.services.get(change.service.id) if kind == "service" else None
        number = change.policy.number
        self.rules = known.rules.latest(number) if kind == "policy" else ()


def between(
    change: nodestate_pb2.Change, before: State, after: State, known: Directory
) -> Iterator[pb.AgentEvent]:
    """Yield the events of one change; `known` has it applied."""
    match change.WhichOneof("object"):
        case "endpoint":
            yield from _endpoint(before.endpoint, after.endpoint)
        case "prefix":
            yield from _prefix(change.prefix.prefix, before, after)
        case "service":
            yield from _service(change.service.id, before.service, after.service)
        case "policy":
            yield from _policy(change.policy.revision, before.rules, after.rules, known)


def started(now: int) -> pb.AgentEvent:
    """Return that the agent began anew; `now` is in ns."""
    event = pb.AgentEvent(type=pb.AGENT_STARTED)
    event.agent_start.time.FromNanoseconds(now)
    return event


def _endpoint(before: Endpoint | None, after: Endpoint | None) -> Iterator[pb.AgentEvent]:
    if before == after:
        return
    if before is not None and after is not None:
        regenerated = pb.EndpointRegenNotification(id=after.endpoint_id, labels=after.labels)
        yield pb.AgentEvent(type=pb.ENDPOINT_REGENERATE_SUCCESS, endpoint_regenerate=regenerated)
        return
    held = after or before
    assert held is not None
    told = pb.EndpointUpdateNotification(
        id=held.endpoint_id, labels=held.labels, pod_name=held.pod, namespace=held.namespace
    )
    kind = pb.ENDPOINT_DELETED if after is None else pb.ENDPOINT_CREATED
    yield pb.AgentEvent(type=kind, endpoint_update=told)


def _prefix(cidr: str, before: State, after: State) -> Iterator[pb.AgentEvent]:
    if before.prefix == after.prefix:
        return
    held = after.prefix or before.prefix
    assert held is not None
    told = pb.IPCacheNotification(
        cidr=cidr, identity=held.identity, namespace=held.namespace, pod_name=held.pod
    )
    if before.prefix is not None and after.prefix is not None:
        told.old_identity.value = before.prefix.identity
    kind = pb.IPCACHE_DELETED if after.prefix is None else pb.IPCACHE_UPSERTED
    yield pb.AgentEvent(type=kind, ipcache_update=told)


def _service(
    number: int,
    before: tuple[ServiceName, tuple[Frontend, ...]] | None,
    after: tuple[ServiceName, tuple[Frontend, ...]] | None,
) -> Iterator[pb.AgentEvent]:
    if before == after:
        return
    if after is None:
        gone = pb.ServiceDeleteNotification(id=number)
        yield pb.AgentEvent(type=pb.SERVICE_DELETED, service_delete=gone)
        return
    name, frontends = after
    for frontend in frontends:
        address = pb.ServiceUpsertNotificationAddr(
            ip=str(unpack_address(frontend.address)), port=frontend.port
        )
        told = pb.ServiceUpsertNotification(
            id=number, frontend_address=address, name=name.name, namespace=name.namespace
        )
        yield pb.AgentEvent(type=pb.SERVICE_UPSERTED, service_upsert=told)


def _policy(
    revision: int, before: tuple[Rule, ...], after: tuple[Rule, ...], known: Directory
) -> Iterator[pb.AgentEvent]:
    old, new = _by_object(before), _by_object(after)
    for found in sorted(old.keys() | new.keys()):
        if old.get(found) == new.get(found):
            continue
        there = new.get(found) or known.rules.has_object(*found)
        told = pb.PolicyUpdateNotification(
            labels=_labels(found),
            revision=revision,
            rule_count=sum((new.get(found) or Counter()).values()),
        )
        kind = pb.POLICY_UPDATED if there else pb.POLICY_DELETED
        if new.get(found) or not there:
            yield pb.AgentEvent(type=kind, policy_update=told)


def _by_object(rules: tuple[Rule, ...]) -> dict[Object, Counter[Rule]]:
    found: dict[Object, Counter[Rule]] = {}
    for rule in rules:
        key = (rule.origin.kind, rule.origin.namespace, rule.origin.name)
        found.setdefault(key, Counter())[rule] += 1
    return found


def _labels(found: Object) -> list[str]:
    kind, namespace, name = found
    labels = [f"{_POLICY}.derived-from={kind}", f"{_POLICY}.name={name}"]
    return [*labels, f"{_POLICY}.namespace={namespace}"] if namespace else labels
