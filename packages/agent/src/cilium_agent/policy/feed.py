# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' policies, CIDR groups, identities and API servers, told to the keeper.

Handlers of the informers; nothing is written here. A policy with problems is named in the log once
for each version of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import structlog

from cilium_agent.identity.index import number_of
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import PolicyObject, SliceObject
from cilium_agent.k8s.watches import Watches
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.repository import PolicyKey, Repository
from cilium_agent.services.desired import service_key
from cilium_core.addresses import Network
from cilium_core.crds.models import CiliumCIDRGroup, CiliumIdentity, CiliumNode
from cilium_core.errors import FieldError
from cilium_core.identity import Reserved
from cilium_core.labels import LabelSet
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.language import CIDRGroup, cidr_group
from cilium_core.policy.rules import Direction, Origin, Policy, Selector

log = structlog.get_logger(__name__)

API_SERVICE = ("default", "kubernetes")
DENY_UNSELECTED = Policy(
    Origin("policyEnforcementMode", "", "always"), Selector(), frozenset(Direction), ()
)
API_VERSIONS = {"NetworkPolicy": "networking.k8s.io/v1"}


_KUBE_APISERVER = f"reserved:{Reserved.KUBE_APISERVER.label}"


class PrefixLabels:
    """Which labels the identity of a prefix carries: its own, its groups', an API server's."""

    def __init__(self, *, dual_stack: bool) -> None:
        """Start without groups, and without `servers`: API servers outside the cluster."""
        self.servers: frozenset[Network] = frozenset()
        self._groups: dict[str, CIDRGroup] = {}
        self._by_prefix: dict[Network, list[CIDRGroup]] = {}
        self._dual_stack = dual_stack

    def set_group(self, name: str, group: CIDRGroup | None) -> None:
        """Take in a group, or that it is gone."""
        old = self._groups.pop(name, None)
        for prefix in old.prefixes if old is not None else ():
            self._by_prefix[prefix].remove(old)  # type: ignore[arg-type]
            if not self._by_prefix[prefix]:
                del self._by_prefix[prefix]
        if group is not None:
            self._groups[name] = group
            for prefix in group.prefixes:
                self._by_prefix.setdefault(prefix, []).append(group)

    def __call__(self, prefix: Network) -> LabelSet:
        """Return the labels of a prefix; a group speaks for all that its prefixes cover."""
        labels = cidr_labels(prefix, dual_stack=self._dual_stack)
        if self._by_prefix:
            for length in range(prefix.prefixlen + 1):
                for group in self._by_prefix.get(prefix.supernet(new_prefix=length), ()):
                    labels |= group.labels
        return {**labels, _KUBE_APISERVER: ""} if prefix in self.servers else labels

    def prefixes(self) -> set[Network]:
        """Return all prefixes of all groups, and those of the servers."""
        return {*self._by_prefix, *self.servers}


class PolicyFeed:
    """Follows the informers. `repository` is for those who show policies."""

    def __init__(
        self,
        watches: Watches,
        keeper: PolicyKeeper,
        labels: PrefixLabels,
        repository: Repository,
        node_name: str,
        mode: str = "default",
    ) -> None:
        """Call `attach` once the keeper has adopted what the kernel holds.

        `mode` is upstream's policyEnforcementMode: in `always` endpoints that no policy selects
        deny everything too, in `never` policies are read and judged but bind nobody.
        """
        self._mode = mode
        self._node_name = node_name
        self.repository = repository
        self._watches = watches
        self._keeper = keeper
        self._labels = labels
        self._apiservers: dict[str, set[Network]] = {}
        self._nodes: dict[str, set[Network]] = {}

    def attach(self) -> None:
        """Follow; what is there already is told at once."""
        self._watches.ciliumidentities.on_change(self._identity)
        self._watches.slices.on_change(self._slice)
        self._watches.ciliumnodes.on_change(self._node)
        self._watches.ciliumcidrgroups.on_change(self._group)
        for informer in self._watches.policies():
            self._follow(informer)
        if self._mode == "always":
            self._keeper.set_policies("always", (DENY_UNSELECTED,))

    def _follow(self, informer: Informer[PolicyObject]) -> None:
        kind = informer.scope

        def changed(old: PolicyObject | None, new: PolicyObject | None) -> None:
            if old is None or new is None or (old.spec, old.specs) != (new.spec, new.specs):
                self._policy(kind, old, new)

        informer.on_change(changed)

    def _policy(self, kind: str, old: PolicyObject | None, new: PolicyObject | None) -> None:
        item = new or old
        assert item is not None
        key = PolicyKey(kind, item.metadata.namespace, item.metadata.name)
        if new is None:
            self.repository.remove(key)
            self._keeper.set_policies(key, ())
        else:
            held = self.repository.put(key, _body(kind, new))
            for problem in held.problems:
                log.warning("policy not enforced as written", policy=str(key), problem=str(problem))
            self._keeper.set_policies(key, held.policies if self._mode != "never" else ())
        self._keeper.set_names(self.repository.names())
        self._prefixes()

    def _group(self, old: CiliumCIDRGroup | None, new: CiliumCIDRGroup | None) -> None:
        item = new or old
        assert item is not None
        name = item.metadata.name
        if new is None:
            self._labels.set_group(name, None)
        else:
            try:
                self._labels.set_group(name, cidr_group(_group_body(new)))
            except FieldError as error:
                log.warning("CIDR group not taken in", group=name, problem=str(error))
                return
        self._prefixes()

    def _identity(self, old: CiliumIdentity | None, new: CiliumIdentity | None) -> None:
        item = new or old
        number = number_of(item) if item is not None else None
        if number is not None:
            labels = new.security_labels if new is not None else None
            self._keeper.set_identity(number, labels)

    def _slice(self, old: SliceObject | None, new: SliceObject | None) -> None:
        item = new or old
        if item is None or service_key(item) != API_SERVICE:
            return
        texts = [a for e in (new.endpoints if new else None) or [] for a in e.addresses]
        self._apiservers[item.metadata.name] = set(_networks(item.metadata.name, texts))
        self._label_apiservers()

    def _node(self, old: CiliumNode | None, new: CiliumNode | None) -> None:
        item = new or old
        assert item is not None
        texts = [address.ip for address in new.spec.addresses] if new is not None else []
        self._nodes[item.metadata.name] = set(_networks(item.metadata.name, texts))
        self._label_apiservers()

    def _label_apiservers(self) -> None:
        """Those on nodes are their nodes; each other is a prefix of the world, with its own rights.

        All in one identity would be reached by rules for the address of any of them.
        """
        servers = set().union(*self._apiservers.values())
        own = self._nodes.get(self._node_name, set())
        nodes = set().union(*self._nodes.values()) - own
        labels = {f"reserved:{Reserved.REMOTE_NODE.label}": ""} if servers & nodes else {}
        self._keeper.set_apiserver(labels, on_this_node=bool(servers & own))
        outside = frozenset(servers - nodes - own)
        if outside != self._labels.servers:
            self._labels.servers = outside
            self._prefixes()

    def _prefixes(self) -> None:
        self._keeper.set_prefixes(self.repository.prefixes() | self._labels.prefixes())


def _body(kind: str, item: PolicyObject) -> dict[str, Any]:
    body: dict[str, Any] = {
        "apiVersion": API_VERSIONS.get(kind, "cilium.io/v2"),
        "kind": kind,
        "metadata": {"name": item.metadata.name, "namespace": item.metadata.namespace},
    }
    if item.spec is not None:
        body["spec"] = item.spec
    if item.specs is not None:
        body["specs"] = item.specs
    return body


def _group_body(group: CiliumCIDRGroup) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": group.metadata.name, "labels": group.metadata.labels},
        "spec": {"externalCIDRs": group.spec.external_cidrs},
    }


def _networks(name: str, texts: list[str]) -> Iterator[Network]:
    for text in texts:
        try:
            yield ip_network(text, strict=False)
        except ValueError:
            log.warning("not a prefix", object=name, text=text)
