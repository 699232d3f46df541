# SPDX-License-Identifier: Apache-2.0
"""The node's present state, and the answer to "who was this": one address, one identity.

Answers are immutable values that the store keeps, so a later change does not touch them. Caches
of answers subscribe: they are told which addresses and identities may now be answered otherwise.
The last owner of an address is remembered: its last packets come late, and are known by the
identity that the kernel saw. Pure, event loop only.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from cilium_core.addresses import pack_address
from cilium_core.labels import CLUSTER, NAMESPACE
from cilium_hubble.state.cluster import ClusterNodes
from cilium_hubble.state.labels import shown_labels, value_of
from cilium_hubble.state.model import Node, Party, ServiceName, Workload
from cilium_hubble.state.prefixes import PrefixTable
from cilium_hubble.state.rules import RuleBook

REMEMBERED = 1024  # addresses whose last owner is remembered


class Endpoint(NamedTuple):
    """A local endpoint; addresses are 16 bytes."""

    endpoint_id: int
    namespace: str
    pod: str
    identity: int
    labels: tuple[str, ...]
    addresses: tuple[bytes, ...]
    workload: Workload | None = None


class Peer(NamedTuple):
    """Who is behind a prefix."""

    identity: int
    namespace: str = ""
    pod: str = ""
    workload: Workload | None = None


class Frontend(NamedTuple):
    """Where a service listens."""

    address: bytes
    port: int
    protocol: int


Listener = Callable[[bytes | None, int | None], None]


class Directory:
    """Endpoints, identities, prefixes, services and rules of this node."""

    def __init__(self) -> None:
        """Start empty: everyone is known by address and identity number only."""
        self.node = Node()
        self.cluster = ClusterNodes()
        self.rules = RuleBook()
        self.endpoints: dict[int, Endpoint] = {}
        self.identities: dict[int, tuple[str, ...]] = {}
        self.prefixes: dict[str, Peer] = {}
        self.services: dict[int, tuple[ServiceName, tuple[Frontend, ...]]] = {}
        self.frontends: dict[Frontend, ServiceName] = {}
        self.service_addresses: Counter[bytes] = Counter()  # of `frontends`
        self._local: dict[bytes, Endpoint] = {}
        self._gone: OrderedDict[bytes, Endpoint | Peer] = OrderedDict()
        self._peers: PrefixTable[Peer] = PrefixTable()
        self._listeners: list[Listener] = []

    def on_change(self, listener: Listener) -> None:
        """Call with (address, None), (None, identity) or (None, None), which is everything."""
        self._listeners.append(listener)

    def put_node(self, node: Node) -> None:
        """Say which node this is."""
        self.node = node
        self._tell(None, None)

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Add or replace a local endpoint."""
        self.remove_endpoint(endpoint.endpoint_id)
        self.endpoints[endpoint.endpoint_id] = endpoint
        for address in endpoint.addresses:
            self._local[address] = endpoint
            self._tell(address, None)

    def remove_endpoint(self, endpoint_id: int) -> None:
        """Take an endpoint away; its addresses are remembered."""
        endpoint = self.endpoints.pop(endpoint_id, None)
        for address in endpoint.addresses if endpoint is not None else ():
            if self._local.get(address) is endpoint and endpoint is not None:
                del self._local[address]
                self._remember(address, endpoint)
                self._tell(address, None)

    def put_identity(self, number: int, labels: tuple[str, ...]) -> None:
        """Say which labels an identity stands for."""
        self.identities[number] = labels
        self._tell(None, number)

    def remove_identity(self, number: int) -> None:
        """Forget an identity's labels."""
        if self.identities.pop(number, None) is not None:
            self._tell(None, number)

    def put_prefix(self, prefix: str, peer: Peer) -> None:
        """Say who is behind a prefix."""
        self.remove_prefix(prefix)
        self.prefixes[prefix] = peer
        self._peers.put(prefix, peer)
        self._tell(_host(prefix), None)

    def remove_prefix(self, prefix: str) -> None:
        """Forget a prefix; a pod's is remembered."""
        peer = self.prefixes.pop(prefix, None)
        if peer is None:
            return
        self._peers.remove(prefix)
        address = _host(prefix)
        if peer.pod and address is not None:
            self._remember(address, peer)
        self._tell(address, None)

    def put_service(self, number: int, name: ServiceName, frontends: tuple[Frontend, ...]) -> None:
        """Add or replace a service."""
        self.remove_service(number)
        self.services[number] = (name, frontends)
        for frontend in frontends:
            self.service_addresses[frontend.address] += frontend not in self.frontends
            self.frontends[frontend] = name

    def remove_service(self, number: int) -> None:
        """Take a service away."""
        name, frontends = self.services.pop(number, (None, ()))
        for frontend in frontends:
            if self.frontends.get(frontend) == name:
                del self.frontends[frontend]
                self.service_addresses[frontend.address] -= 1
                if not self.service_addresses[frontend.address]:
                    del self.service_addresses[frontend.address]

    def party(self, address: bytes, identity: int) -> Party:
        """Return who has an address (16 bytes). `identity` is what the kernel saw, 0 for unknown.

        The kernel's identity holds against the directory's: a name goes only with its identity.
        """
        found = self._local.get(address) or self._peers.find(address)
        if not _fits(found, identity):
            gone = self._gone.get(address)
            found = gone if _fits(gone, identity) else None
        number = identity or (found.identity if found is not None else 0)
        labels = self.identities.get(number, ())
        if isinstance(found, Endpoint):
            labels = found.labels or labels
        pod = found.pod if found is not None else ""
        return Party(
            endpoint_id=found.endpoint_id if isinstance(found, Endpoint) else 0,
            identity=number,
            cluster=value_of(labels, f"k8s:{CLUSTER}") or self.node.cluster,
            namespace=found.namespace
            if found is not None and pod
            else value_of(labels, f"k8s:{NAMESPACE}"),
            pod=pod,
            labels=shown_labels(labels),
            workload=found.workload if found is not None else None,
        )

    def _remember(self, address: bytes, who: Endpoint | Peer) -> None:
        self._gone[address] = who
        self._gone.move_to_end(address)
        while len(self._gone) > REMEMBERED:
            self._tell(self._gone.popitem(last=False)[0], None)

    def _tell(self, address: bytes | None, identity: int | None) -> None:
        for listener in self._listeners:
            listener(address, identity)


def _fits(found: Endpoint | Peer | None, identity: int) -> bool:
    """Tell whether a known owner may be named: the identity agrees, or one side knows none."""
    return found is not None and (not identity or not found.identity or found.identity == identity)


def _host(prefix: str) -> bytes | None:
    """Return the 16 bytes of a /32 or /128, None for a shorter prefix."""
    address, _, length = prefix.partition("/")
    whole = 128 if ":" in address else 32
    return pack_address(address) if int(length or whole) == whole else None
