# SPDX-License-Identifier: Apache-2.0
"""The agent's ports held in memory, and namespaces of its own for tests that touch the kernel."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from cilium_agent.endpoints.links import LinkSettings, PodLinks
from cilium_agent.endpoints.manager import EndpointManager
from cilium_agent.errors import PodGone
from cilium_agent.ipam.pool import NodePool
from cilium_agent.model import Endpoint, NodeAddressing, Pod
from cilium_agent.storage.store import EndpointStore
from cilium_core.labels import LabelSet
from cilium_core.layouts.datapath import EndpointInfo, EndpointKey

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

ADDRESSING = NodeAddressing(
    node_name="node1",
    node_v4=IPv4Address("172.30.0.11"),
    node_v6=IPv6Address("fd00:30::11"),
    pod_v4=IPv4Network("10.0.0.0/24"),
    pod_v6=IPv6Network("fd00::/120"),
    router_v4=IPv4Address("10.0.0.1"),
    router_v6=IPv6Address("fd00::1"),
)
LINKS = LinkSettings(1500, 1450, ADDRESSING.router_v4, ADDRESSING.router_v6)


def pod(name: str, node: str = "node1", host_network: bool = False, uid: str = "") -> Pod:
    """Return a pod of namespace `default`."""
    return Pod(
        namespace="default",
        name=name,
        uid=uid or f"uid-{name}",
        node=node,
        service_account="default",
        labels={"app": name},
        host_network=host_network,
    )


class FakePods:
    """Pods by name; `gets` counts look-ups, `on_get` runs before each with its number."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = {(p.namespace, p.name): p for p in pods}
        self.gets = 0
        self.on_get: Callable[[int], None] = lambda number: None

    async def get(self, namespace: str, name: str, uid: str) -> Pod:
        self.gets += 1
        self.on_get(self.gets)
        found = self.pods.get((namespace, name))
        if found is None or (uid and found.uid != uid):
            raise PodGone(f"pod {namespace}/{name} (uid {uid}) is gone")
        return found

    async def security_labels(self, pod: Pod) -> LabelSet:
        return {f"k8s:{key}": value for key, value in pod.labels.items()}


class FakeIdentities:
    """One number for each label set, from 1000."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    async def allocate(self, labels: LabelSet) -> int:
        return self.known.setdefault(str(sorted(labels.items())), 1000 + len(self.known))


class FakeObjects:
    """Published endpoints by pod name."""

    def __init__(self) -> None:
        self.published: dict[str, Endpoint] = {}

    def publish(self, endpoint: Endpoint) -> None:
        self.published[endpoint.pod_name] = endpoint

    def withdraw(self, endpoint: Endpoint) -> None:
        held = self.published.get(endpoint.pod_name)
        if held is not None and held.endpoint_id == endpoint.endpoint_id:
            del self.published[endpoint.pod_name]


class FakeDatapath:
    """Attached devices and endpoints in force; `failing` names the call that raises."""

    def __init__(self) -> None:
        self.attached: set[int] = set()
        self.endpoints: dict[int, Endpoint] = {}
        self.failing = ""

    def _maybe_fail(self, call: str) -> None:
        if call == self.failing:
            raise OSError(28, f"injected into {call}")

    async def attach(self, endpoint: Endpoint) -> None:
        self._maybe_fail("attach")
        assert endpoint.host_ifindex > 0
        self.attached.add(endpoint.host_ifindex)

    async def upsert(self, endpoint: Endpoint) -> None:
        self._maybe_fail("upsert")
        assert endpoint.identity >= 1000
        self.endpoints[endpoint.endpoint_id] = endpoint

    async def delete(self, endpoint: Endpoint) -> None:
        self._maybe_fail("delete")
        self.endpoints.pop(endpoint.endpoint_id, None)

    async def detach(self, endpoint: Endpoint) -> None:
        self._maybe_fail("detach")
        self.attached.discard(endpoint.host_ifindex)

    async def adopt(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = {endpoint.endpoint_id: endpoint for endpoint in endpoints}


class FakePolicy:
    """What endpoints were prepared for, by id; `moving` are those whose row is not in yet."""

    def __init__(self) -> None:
        self.subjects: dict[int, tuple[int, LabelSet]] = {}
        self.moving: set[int] = set()
        self.error: Exception | None = None

    def prepare(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        if self.error is not None:
            raise self.error
        self.subjects[endpoint_id] = (identity, labels)
        self.moving.add(endpoint_id)

    def restore(self, endpoint_id: int, identity: int, labels: LabelSet) -> None:
        self.subjects[endpoint_id] = (identity, labels)

    def settled(self, endpoint_id: int) -> None:
        self.moving.discard(endpoint_id)

    def forget(self, endpoint_id: int) -> None:
        self.subjects.pop(endpoint_id, None)
        self.moving.discard(endpoint_id)


@dataclass
class Agent:
    """A manager with all its fakes."""

    manager: EndpointManager
    pods: FakePods
    objects: FakeObjects
    datapath: FakeDatapath
    identities: FakeIdentities = field(default_factory=FakeIdentities)
    policy: FakePolicy = field(default_factory=FakePolicy)
    pinned: dict[EndpointKey, EndpointInfo] = field(default_factory=dict)

    def leaks(self) -> dict[str, object]:
        """Return what is held anywhere in memory; empty values when nothing is."""
        pool = self.manager.pool
        return {
            "addresses": pool.owners(),
            "endpoints": self.manager.all(),
            "attached": self.datapath.attached,
            "in force": self.datapath.endpoints,
            "published": self.objects.published,
            "policies": self.policy.subjects,
            "moving": self.policy.moving,
        }


async def make_agent(
    database: Path,
    *pods: Pod,
    addressing: NodeAddressing = ADDRESSING,
    links: LinkSettings = LINKS,
    step: Callable[[str], None] = lambda name: None,
) -> Agent:
    """Return an agent over an endpoint file, not restored yet."""
    fake_pods, objects, datapath = FakePods(*pods), FakeObjects(), FakeDatapath()
    identities, policy = FakeIdentities(), FakePolicy()
    manager = EndpointManager(
        node_name=addressing.node_name,
        store=await EndpointStore.open(database),
        pool=NodePool.of(addressing),
        links=PodLinks(links),
        pods=fake_pods,
        identities=identities,
        objects=objects,
        datapath=datapath,
        policy=policy,
        step=step,
    )
    return Agent(manager, fake_pods, objects, datapath, identities, policy)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition. AssertionError when it does not come."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not so after {seconds} s")


class Namespace:
    """A network namespace without a process or a mount; `path` opens it while this lives."""

    def __init__(self) -> None:
        opened: list[int] = []

        def make() -> None:
            if _libc.unshare(CLONE_NEWNET) == 0:
                opened.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not opened:
            raise PermissionError("a network namespace could not be made; run as root")
        self._fd = opened[0]

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def close(self) -> None:
        os.close(self._fd)


def enter_new_netns() -> int:
    """Move the calling thread into a new namespace; returns a descriptor of the old one."""
    old = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise PermissionError("a network namespace could not be made; run as root")
    return old


def return_to_netns(descriptor: int) -> None:
    """Move the calling thread back and close the descriptor."""
    assert _libc.setns(descriptor, CLONE_NEWNET) == 0
    os.close(descriptor)
