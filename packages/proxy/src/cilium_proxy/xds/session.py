# SPDX-License-Identifier: Apache-2.0
"""One stream of incremental discovery, as a state machine. Pure.

Each response carries one resource, so that a refusal names the rule set that it is about. What
Envoy says that it has, after a restart of the controller, is not sent again when it is the same.
Routes are never taken away: the listener goes, the connections that it still has keep theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2 as pb

from cilium_proxy.translate import naming
from cilium_proxy.xds.table import Answer, Table

EVERY = "*"


@dataclass(slots=True)
class _Type:
    """What Envoy asked for of one type, what it has or has been sent, and what it said it has."""

    names: set[str] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Sent:
    """A response that Envoy has not answered; `before` is the version that it may fall back to."""

    type_url: str
    name: str
    version: str
    before: str


class Session:
    """The state of one stream."""

    def __init__(self, table: Table) -> None:
        """Serve the resources of this table."""
        self._table = table
        self._types: dict[str, _Type] = {}
        self._sent: dict[str, _Sent] = {}
        self._nonces = itertools.count(1)

    def receive(self, request: pb.DeltaDiscoveryRequest) -> Answer | None:
        """Take a request in; return what it says of a resource that was sent."""
        if request.type_url not in self._types:
            # A first request without names asks for all; later ones change the names alone.
            asked = _Type(versions=dict(request.initial_resource_versions))
            asked.names = set(request.resource_names_subscribe) or {EVERY}
            self._types[request.type_url] = asked
        else:
            asked = self._types[request.type_url]
            asked.names.update(request.resource_names_subscribe)
            # To ask again for a name is to have lost what was sent.
            for name in request.resource_names_subscribe:
                asked.versions.pop(name, None)
                asked.taken.pop(name, None)
        for name in request.resource_names_unsubscribe:
            asked.names.discard(name)
            asked.versions.pop(name, None)
            asked.taken.pop(name, None)
        for name, version in request.initial_resource_versions.items():
            asked.versions.setdefault(name, version)
            asked.taken[name] = version
        return self._answer(request)

    def has(self) -> list[Answer]:
        """Return, as answers, which wanted versions Envoy has and the table does not know of.

        It had them when it came, or kept the routes of a listener that went and is there again.
        """
        if not self._table.ready:
            return []
        return [
            Answer(type_url, name, version)
            for type_url, asked in self._types.items()
            for name, version in asked.taken.items()
            if (resource := self._table.wanted(type_url).get(name))
            and resource.version == version
            and not self._table.taken(type_url, name, version)
        ]

    def responses(self) -> Iterator[pb.DeltaDiscoveryResponse]:
        """Yield what Envoy is owed now, nothing while what it shall have is not known."""
        if not self._table.ready:
            return
        for type_url, asked in self._types.items():
            wanted = self._table.wanted(type_url)
            for name, resource in list(wanted.items()):
                if not asked.names & {name, EVERY}:
                    continue
                before = asked.versions.get(name, "")
                if before != resource.version:
                    asked.versions[name] = resource.version
                    nonce = self._note(_Sent(type_url, name, resource.version, before))
                    entry = pb.Resource(name=name, version=resource.version, resource=resource.body)
                    yield pb.DeltaDiscoveryResponse(
                        type_url=type_url, nonce=nonce, resources=[entry]
                    )
            if type_url == naming.LISTENER:
                yield from self._removals(type_url, asked)

    def _removals(self, type_url: str, asked: _Type) -> Iterator[pb.DeltaDiscoveryResponse]:
        gone = sorted(asked.versions.keys() - self._table.wanted(type_url).keys())
        for name in gone:
            del asked.versions[name]
            asked.taken.pop(name, None)
            nonce = self._note(_Sent(type_url, name, "", ""))
            yield pb.DeltaDiscoveryResponse(
                type_url=type_url, nonce=nonce, removed_resources=[name]
            )

    def _note(self, sent: _Sent) -> str:
        nonce = str(next(self._nonces))
        self._sent[nonce] = sent
        return nonce

    def _answer(self, request: pb.DeltaDiscoveryRequest) -> Answer | None:
        sent = self._sent.pop(request.response_nonce, None)
        if sent is None:
            return None
        error = ""
        if request.HasField("error_detail"):
            error = request.error_detail.message or "refused without a reason"
            self._fall_back(sent)
        elif sent.version and request.type_url in self._types:
            asked = self._types[request.type_url]
            if asked.versions.get(sent.name) == sent.version:
                asked.taken[sent.name] = sent.version
        return Answer(sent.type_url, sent.name, sent.version, error)

    def _fall_back(self, sent: _Sent) -> None:
        asked = self._types[sent.type_url]
        if asked.versions.get(sent.name) == sent.version:
            asked.versions.pop(sent.name)
            if sent.before:
                asked.versions[sent.name] = sent.before
