# SPDX-License-Identifier: Apache-2.0
"""Turns what the agent's rooms know into facts of the node state, as it changes.

Each method is a hook of one room and cheap: equal facts are no news. Event loop only.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from cilium_agent.identity.index import number_of
from cilium_agent.model import Endpoint
from cilium_agent.nodes.remote import tunnel_address
from cilium_agent.nodestate.facts import (
    ClusterNodeFact,
    EndpointFact,
    IdentityFact,
    NodeFact,
    PolicyFact,
    PrefixFact,
    ServiceFact,
    label_texts,
    of_endpoint,
    of_policy,
)
from cilium_agent.nodestate.state import NodeState
from cilium_core.addresses import Network
from cilium_core.crds.models import CiliumIdentity, CiliumNode
from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet
from cilium_core.policy.bits import Use
from cilium_core.policy.rules import Rule

KEPT_REVISIONS = 8  # of one policy: flows that it decided may be named some time later


class Objects(Protocol):
    """Who publishes endpoints to the cluster."""

    def publish(self, endpoint: Endpoint) -> None: ...

    def withdraw(self, endpoint: Endpoint) -> None: ...


class Teller:
    """Writes facts into a node state; also stands between endpoints and their publisher."""

    def __init__(self, state: NodeState, node: str, cluster: str) -> None:
        """Begin with the node and the reserved identities."""
        self.state = state
        self.objects: Objects | None = None
        self._locals: set[int] = set()
        self._revisions: defaultdict[int, deque[int]] = defaultdict(deque)
        state.put(NodeFact(node, cluster))
        for member in Reserved:
            if member:
                state.put(IdentityFact(int(member), (f"reserved:{member.label}",)))

    def publish(self, endpoint: Endpoint) -> None:
        """Tell of an endpoint, to the node state and to the cluster."""
        self.state.put(of_endpoint(endpoint))
        if self.objects is not None:
            self.objects.publish(endpoint)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Tell that an endpoint is gone."""
        self.state.remove(EndpointFact, endpoint.endpoint_id)
        if self.objects is not None:
            self.objects.withdraw(endpoint)

    def identity(self, old: CiliumIdentity | None, new: CiliumIdentity | None) -> None:
        """Take in a change of a cluster identity."""
        item = new or old
        number = number_of(item) if item is not None else None
        if number is None:
            return
        if new is None:
            self.state.remove(IdentityFact, number)
        else:
            self.state.put(IdentityFact(number, label_texts(new.security_labels)))

    def cluster_node(self, old: CiliumNode | None, new: CiliumNode | None) -> None:
        """Take in a change of a node of the cluster, this one included."""
        if new is not None:
            address = tunnel_address(new)
            text = str(address) if address is not None else ""
            self.state.put(ClusterNodeFact(new.metadata.name, text))
        elif old is not None:
            self.state.remove(ClusterNodeFact, old.metadata.name)

    def locals(self, labels: Mapping[int, LabelSet]) -> None:
        """Make these the identities of this node alone: of prefixes, and of names' addresses."""
        for number, found in labels.items():
            self.state.put(IdentityFact(number, label_texts(found)))
        self.state.remove(IdentityFact, *(self._locals - labels.keys()))
        self._locals = set(labels)

    def prefix(self, prefix: Network, identity: int | None, pod: tuple[str, str]) -> None:
        """Take in a row of the ipcache (None: it went); `pod` is (namespace, name) or empty."""
        if identity is None:
            self.state.remove(PrefixFact, str(prefix))
        else:
            self.state.put(PrefixFact(str(prefix), identity, *pod))

    def services(self, listed: Iterable[ServiceFact]) -> None:
        """Make these the services."""
        self.state.replace(ServiceFact, listed)

    def policies(
        self,
        numbers: Iterable[int],
        revision: int,
        rules_of: Callable[[int], Iterable[Rule]],
        uses: Mapping[Use, int],
    ) -> None:
        """Tell which rules policy numbers stand for from a revision on, before rows are written."""
        for number in numbers:
            self.state.put(of_policy(number, revision, rules_of(number), uses))
            kept = self._revisions[number]
            if not kept or kept[-1] != revision:
                kept.append(revision)
            if len(kept) > KEPT_REVISIONS:
                self.state.remove(PolicyFact, (number, kept.popleft()))
