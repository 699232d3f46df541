# SPDX-License-Identifier: Apache-2.0
"""The seams between the agent's rooms, as protocols.

Kubernetes code implements the first group and knows no BPF; the datapath implements the second
and knows no Kubernetes; endpoints and CNI use both through these and import neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from cilium_agent.model import Endpoint, Pod
from cilium_core.labels import LabelSet


class Pods(Protocol):
    """Finds pods; implemented over the API server."""

    async def get(self, namespace: str, name: str, uid: str) -> Pod:
        """Return the pod from the API server itself. PodGone when absent or of another uid."""

    async def security_labels(self, pod: Pod) -> LabelSet:
        """Return the pod's filtered security labels, namespace labels included."""


class Identities(Protocol):
    """Turns label sets into cluster identities."""

    async def allocate(self, labels: LabelSet) -> int:
        """Return the identity of the labels, creating the CiliumIdentity when none has it."""


class EndpointObjects(Protocol):
    """Publishes CiliumEndpoint objects; calls return at once and are retried behind."""

    def publish(self, endpoint: Endpoint) -> None:
        """Create or update the endpoint's object."""

    def withdraw(self, endpoint: Endpoint) -> None:
        """Delete the endpoint's object if it still is this endpoint's."""


class EndpointDatapath(Protocol):
    """Puts one endpoint into the kernel; each call returns when the kernel has it."""

    async def attach(self, endpoint: Endpoint) -> None:
        """Attach the programs to the host-side device."""

    async def upsert(self, endpoint: Endpoint) -> None:
        """Write the endpoint's addresses into the endpoint map and the ipcache."""

    async def delete(self, endpoint: Endpoint) -> None:
        """Remove its addresses from both and purge what connections left behind."""

    async def detach(self, endpoint: Endpoint) -> None:
        """Take the programs off the host-side device, when nothing can pass there any more."""

    async def adopt(self, endpoints: Iterable[Endpoint]) -> None:
        """Make the endpoint map hold these endpoints and no others (after a restart)."""


class EndpointPolicy(Protocol):
    """Has the rows of an endpoint's policy in the kernel before the endpoint points at them."""

    def prepare(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        """Have everything in the kernel for an endpoint of these labels."""

    def restore(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        """Take in an endpoint that the kernel has already."""

    def settled(self, endpoint_id: int) -> None:
        """Say that the kernel's endpoint points at what was prepared last."""

    def forget(self, endpoint_id: int) -> None:
        """Say that the endpoint is gone from the kernel."""


class AddressPool(Protocol):
    """This node's pod addresses."""

    def allocate(self, owner: str) -> tuple[IPv4Address | None, IPv6Address | None]:
        """Return a free address of each family in use. PoolExhausted names the CIDR."""

    def claim(self, address: IPv4Address | IPv6Address, owner: str) -> None:
        """Take an address that is in use (restore). AddressTaken names its present owner."""

    def release(self, owner: str) -> None:
        """Free all addresses of the owner; none is not an error."""
