# SPDX-License-Identifier: Apache-2.0
"""What runs in this agent, for those who only look: the API, metrics and health.

Filled by the daemon step by step during the start; a part that is None is not up yet. Readers are
on the event loop and change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cilium_agent.config import Settings
from cilium_agent.datapath.store import MapStore
from cilium_agent.fqdn.names import Names
from cilium_agent.identity.allocator import Allocator
from cilium_agent.ipam.pool import NodePool
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.publisher import EndpointPublisher
from cilium_agent.model import Endpoint, NodeAddressing, RemoteNode
from cilium_agent.observer import ObserverState
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.repository import Repository
from cilium_agent.proxies.health import Proxies
from cilium_agent.proxies.rulesets import RuleSets
from cilium_agent.services.balancer import Balancer

VERSION = "0.1.0"


class EndpointList(Protocol):
    """Who knows this node's endpoints."""

    def all(self) -> Iterable[Endpoint]: ...


@dataclass(slots=True)
class Outcome:
    """How a repeated job fares; times are seconds since the epoch, 0 for never."""

    successes: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    last_success: float = 0.0
    last_failure: float = 0.0
    last_error: str = ""

    def succeeded(self) -> None:
        """Count a run that went well."""
        self.successes += 1
        self.consecutive_failures = 0
        self.last_success = time.time()

    def failed(self, error: BaseException) -> None:
        """Count a run that failed."""
        self.failures += 1
        self.consecutive_failures += 1
        self.last_failure = time.time()
        self.last_error = str(error) or repr(error)


@dataclass(slots=True)
class AgentState:
    """References to the agent's rooms."""

    settings: Settings
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    bootstrap_seconds: float = 0.0
    waiting_for: str = "configuration"
    kubernetes_version: str = ""
    features_not_available: tuple[str, ...] = ()
    client: ApiClient | None = None
    informers: dict[str, Informer[Any]] = field(default_factory=dict)
    store: MapStore | None = None
    programs_current: bool = False
    allocator: Allocator | None = None
    ipcache: IpcacheWriter | None = None
    balancer: Balancer | None = None
    observer: ObserverState = field(init=False)
    proxies: Proxies = field(init=False)
    keeper: PolicyKeeper | None = None
    repository: Repository | None = None
    rule_sets: RuleSets | None = None
    names: Names | None = None
    policy_sizes: Callable[[], Mapping[str, tuple[int, int]]] | None = None
    pool: NodePool | None = None
    endpoints: EndpointList | None = None
    publisher: EndpointPublisher | None = None
    addressing: NodeAddressing | None = None
    remote_nodes: dict[str, RemoteNode] = field(default_factory=dict)
    underlay: str = ""
    cni_conf: Path | None = None
    controllers: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nobody was asked yet."""
        self.observer = ObserverState(self.settings.enable_hubble, self.started)
        self.proxies = Proxies(self.settings.node_name, self.settings.external_envoy)

    def endpoint_list(self) -> list[Endpoint]:
        """Return this node's endpoints by id; none while they are not restored."""
        known = self.endpoints.all() if self.endpoints is not None else ()
        return sorted(known, key=lambda endpoint: endpoint.endpoint_id)
