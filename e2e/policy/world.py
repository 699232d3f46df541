# SPDX-License-Identifier: Apache-2.0
"""Three namespaces of three pods each, and who of them reaches whom on two ports.

Pods `a` and `b` are on node1, `c` on node2. Every pod tries every other one at once, over both
families, TCP and UDP; a matrix takes a few seconds, most of it waiting for what is denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from e2e.kube import Kube, probe_pod

PORTS = (80, 81)
PROTOCOLS = ("tcp", "udp")
PODS = {"a": "node1", "b": "node1", "c": "node2"}
SHORT = ("x", "y", "z")
TRY_SECONDS = 1.0


class Place(NamedTuple):
    """A pod by the short name of its namespace and its own."""

    ns: str
    pod: str


class Try(NamedTuple):
    """One thing that may be reached."""

    source: Place
    target: Place
    port: int
    protocol: str
    family: int


Expected = Callable[[Place, Place, int, str], bool]


@dataclass(frozen=True)
class World:
    """The pods that run: their namespaces' full names and their addresses (IPv4 first)."""

    kube: Kube
    namespaces: dict[str, str]
    addresses: dict[Place, list[str]]

    def tries(self) -> list[Try]:
        """Everything that the matrix tries."""
        return [
            Try(source, target, port, protocol, 6 if ":" in address else 4)
            for source in self.addresses
            for target, addresses in self.addresses.items()
            if source != target
            for address in addresses
            for port in PORTS
            for protocol in PROTOCOLS
        ]

    def reached(self, tries: Iterable[Try]) -> dict[Try, bool]:
        """Try all, every pod its own, side by side."""
        by_source: dict[Place, list[Try]] = {}
        for one in tries:
            by_source.setdefault(one.source, []).append(one)
        with ThreadPoolExecutor(len(by_source) or 1) as pool:
            parts = pool.map(lambda item: self._from(*item), by_source.items())
        return {one: ok for part in parts for one, ok in part.items()}

    def _from(self, source: Place, tries: list[Try]) -> dict[Try, bool]:
        elements = [
            {
                "kind": one.protocol,
                "target": f"{self._host(one)}:{one.port}",
                "timeout": TRY_SECONDS,
            }
            for one in tries
        ]
        outcomes = self.kube.matrix(self.namespaces[source.ns], source.pod, elements)
        return {one: bool(out["ok"]) for one, out in zip(tries, outcomes, strict=True)}

    def _host(self, one: Try) -> str:
        address = self.addresses[one.target][0 if one.family == 4 else 1]
        return f"[{address}]" if one.family == 6 else address


def differences(world: World, expected: Expected, rounds: int = 4) -> list[str]:
    """Compare with what is expected; what differs is tried again, since policies take a moment.

    Only the first round tries everything: a later one repeats the whole matrix once what differed
    agrees, so that nothing that changed late is missed.
    """
    wanted = {
        one: expected(one.source, one.target, one.port, one.protocol) for one in world.tries()
    }
    wrong = _wrong(world, wanted, wanted)
    for _ in range(rounds):
        if not wrong:
            return []
        wrong = _wrong(world, wanted, wrong) or _wrong(world, wanted, wanted)
    return [
        f"{one.source.ns}/{one.source.pod} -> {one.target.ns}/{one.target.pod}"
        f" {one.port}/{one.protocol} IPv{one.family}: {'not ' if wanted[one] else ''}reached"
        for one in wrong
    ]


def _wrong(world: World, wanted: dict[Try, bool], tries: Iterable[Try]) -> list[Try]:
    reached = world.reached(tries)
    return [one for one, ok in reached.items() if ok != wanted[one]]


def create(kube: Kube, suffix: str) -> World:
    """Make the namespaces (label `ns`: x, y, z) and pods (label `pod`: a, b, c), wait for them."""
    namespaces = {short: f"policy-{short}-{suffix}" for short in SHORT}
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"ns": short}},
        }
        for short, name in namespaces.items()
    ]
    for name in namespaces.values():
        objects += [_pod(name, pod, node) for pod, node in PODS.items()]
    kube.apply(*objects)
    for name in namespaces.values():
        kube.wait_ready(name, *PODS)
    addresses = {
        Place(short, pod): kube.pod_addresses(name, pod)
        for short, name in namespaces.items()
        for pod in PODS
    }
    return World(kube, namespaces, addresses)


def _pod(namespace: str, name: str, node: str) -> dict[str, Any]:
    pod = probe_pod(namespace, name, node, {"pod": name})
    container = pod["spec"]["containers"][0]
    ports = [word for port in PORTS for kind in PROTOCOLS for word in (f"--{kind}", str(port))]
    container["command"] = ["probe", "serve", *ports]
    container["ports"] = [
        {"name": "serve-80", "containerPort": 80, "protocol": "TCP"},
        {"name": "serve-81-udp", "containerPort": 81, "protocol": "UDP"},
    ]
    return pod
