# SPDX-License-Identifier: Apache-2.0
"""Facts as messages of `cilium.python.nodestate.v1`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cilium_agent.nodestate.facts import (
    ClusterNodeFact,
    EndpointFact,
    Fact,
    IdentityFact,
    NodeFact,
    PolicyFact,
    PrefixFact,
    RuleFact,
    ServiceFact,
    Workload,
)
from cilium_core.proto import nodestate_pb2 as pb


def change(fact: Fact, *, removed: bool = False) -> pb.Change:
    """Return a change; of what is removed only the key is told."""
    message: pb.Change = _BY_KIND[type(fact)](fact, removed)
    message.removed = removed
    return message


def _node(fact: NodeFact, _removed: bool) -> pb.Change:
    return pb.Change(node=pb.Node(name=fact.name, cluster=fact.cluster, labels=fact.labels))


def _cluster_node(fact: ClusterNodeFact, removed: bool) -> pb.Change:
    address = "" if removed else fact.address
    return pb.Change(cluster_node=pb.ClusterNode(name=fact.name, address=address))


def _endpoint(fact: EndpointFact, removed: bool) -> pb.Change:
    if removed:
        return pb.Change(endpoint=pb.Endpoint(id=fact.endpoint_id))
    return pb.Change(
        endpoint=pb.Endpoint(
            id=fact.endpoint_id,
            namespace=fact.namespace,
            pod=fact.pod,
            identity=fact.identity,
            labels=fact.labels,
            addresses=fact.addresses,
            workload=_workload(fact.workload),
        )
    )


def _identity(fact: IdentityFact, removed: bool) -> pb.Change:
    labels = () if removed else fact.labels
    return pb.Change(identity=pb.Identity(id=fact.number, labels=labels))


def _prefix(fact: PrefixFact, removed: bool) -> pb.Change:
    if removed:
        return pb.Change(prefix=pb.Prefix(prefix=fact.prefix))
    return pb.Change(
        prefix=pb.Prefix(
            prefix=fact.prefix,
            identity=fact.identity,
            namespace=fact.namespace,
            pod=fact.pod,
            workload=_workload(fact.workload),
        )
    )


def _service(fact: ServiceFact, removed: bool) -> pb.Change:
    if removed:
        return pb.Change(service=pb.Service(id=fact.number))
    frontends = [
        pb.Frontend(address=address, port=port, protocol=protocol)
        for address, port, protocol in fact.frontends
    ]
    return pb.Change(
        service=pb.Service(
            id=fact.number, namespace=fact.namespace, name=fact.name, frontends=frontends
        )
    )


def _policy(fact: PolicyFact, removed: bool) -> pb.Change:
    rules = [] if removed else [_rule(rule) for rule in fact.rules]
    return pb.Change(policy=pb.Policy(number=fact.number, revision=fact.revision, rules=rules))


def _rule(rule: RuleFact) -> pb.Rule:
    origin = rule.origin
    return pb.Rule(
        direction=rule.direction,
        deny=rule.deny,
        ports=[pb.Ports(protocol=p, first=first, last=last) for p, first, last in rule.ports],
        any_peer=rule.peers is None,
        peers=[pb.PeerBits(word=word, mask=mask) for word, mask in rule.peers or ()],
        origin=pb.Origin(
            kind=origin.kind, namespace=origin.namespace, name=origin.name, field=origin.field
        ),
    )


def _workload(workload: Workload | None) -> pb.Workload | None:
    return pb.Workload(kind=workload.kind, name=workload.name) if workload is not None else None


_BY_KIND: dict[type[Fact], Callable[[Any, bool], pb.Change]] = {
    NodeFact: _node,
    ClusterNodeFact: _cluster_node,
    EndpointFact: _endpoint,
    IdentityFact: _identity,
    PrefixFact: _prefix,
    ServiceFact: _service,
    PolicyFact: _policy,
}
