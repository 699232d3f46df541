# SPDX-License-Identifier: Apache-2.0
"""Services and EndpointSlices to frontends with their backends. Pure functions.

A backend serves when it is ready and not terminating; when none is, terminating ones that still
serve take over (so that the last pod of a roll-out is used until it is gone).
publishNotReadyAddresses needs nothing here: the slices then say `ready`. Text that is no address
is left out; `problems_of_service` and `problems_of_slice` name it for the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cilium_agent.k8s.objects import ServiceObject, ServicePort, SliceEndpoint, SliceObject
from cilium_core.addresses import Address, parse_address
from cilium_core.errors import FieldError
from cilium_core.layouts.datapath import ServiceFlag

PROTOCOLS = {"TCP": 6, "UDP": 17}
SERVICE_NAME = "kubernetes.io/service-name"
CLIENT_IP = "ClientIP"


class Frontend(NamedTuple):
    """Where clients connect: the key of one load-balanced service."""

    address: Address
    port: int
    protocol: int


class Backend(NamedTuple):
    """Where a connection goes. Ordered, so that slots do not depend on the order of events."""

    packed: int  # the address as a number: orders both families
    address: Address
    port: int
    protocol: int
    terminating: bool = False


class Resolved(NamedTuple):
    """A frontend's service: names for people, flags and backends for the maps."""

    namespace: str
    name: str
    port_name: str
    flags: ServiceFlag
    affinity_seconds: int
    backends: tuple[Backend, ...]


class _Candidate(NamedTuple):
    backend: Backend
    ready: bool
    serving: bool


def resolve(
    service: ServiceObject, slices: Iterable[SliceObject], node: str
) -> dict[Frontend, Resolved]:
    """Return the frontends of one service. Headless and ExternalName services have none."""
    known = list(slices)
    found: dict[Frontend, Resolved] = {}
    local_only = service.spec.internal_traffic_policy == "Local"
    for address in _cluster_ips(service):
        for port in service.spec.ports:
            protocol = PROTOCOLS.get(port.protocol)
            if protocol is None:
                continue
            candidates = _candidates(known, port, address.version, node if local_only else None)
            found[Frontend(address, port.port, protocol)] = Resolved(
                namespace=service.metadata.namespace,
                name=service.metadata.name,
                port_name=port.name,
                flags=_flags(service),
                affinity_seconds=_affinity_seconds(service),
                backends=_choose(candidates),
            )
    return found


def unsupported_ports(service: ServiceObject) -> list[str]:
    """Return the protocols of the service that are not load-balanced, for the log."""
    return sorted({p.protocol for p in service.spec.ports if p.protocol not in PROTOCOLS})


def wants_affinity(service: ServiceObject) -> bool:
    """Tell whether the service asks for one client to stay with one backend."""
    return service.spec.session_affinity == CLIENT_IP and bool(_cluster_ips(service))


def problems_of_service(service: ServiceObject) -> list[FieldError]:
    """Return what of the service is left out because it is no address."""
    problems: list[FieldError] = []
    _cluster_ips(service, problems)
    return problems


def problems_of_slice(item: SliceObject) -> list[FieldError]:
    """Return what of the slice is left out because it is no address."""
    problems: list[FieldError] = []
    if item.address_type in ("IPv4", "IPv6"):
        for index, endpoint in enumerate(item.endpoints or []):
            _addresses(f"endpoints[{index}].addresses", endpoint.addresses, problems)
    return problems


def service_key(item: SliceObject) -> tuple[str, str] | None:
    """Return the (namespace, name) of the service that a slice belongs to."""
    name = item.metadata.labels.get(SERVICE_NAME)
    return (item.metadata.namespace, name) if name else None


def _cluster_ips(service: ServiceObject, problems: list[FieldError] | None = None) -> list[Address]:
    if service.spec.type == "ExternalName":
        return []
    texts = service.spec.cluster_ips or [service.spec.cluster_ip]
    return _addresses("spec.clusterIPs", [t for t in texts if t and t != "None"], problems)


def _addresses(
    field: str, texts: Iterable[str], problems: list[FieldError] | None = None
) -> list[Address]:
    found: list[Address] = []
    for text in texts:
        try:
            found.append(parse_address(field, text))
        except FieldError as error:
            if problems is not None:
                problems.append(error)
    return found


def _flags(service: ServiceObject) -> ServiceFlag:
    flags = ServiceFlag(0)
    if service.spec.session_affinity == CLIENT_IP:
        flags |= ServiceFlag.AFFINITY
    if service.spec.internal_traffic_policy == "Local":
        flags |= ServiceFlag.INTERNAL_LOCAL
    return flags


def _affinity_seconds(service: ServiceObject) -> int:
    if service.spec.session_affinity != CLIENT_IP:
        return 0
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or 10800


def _candidates(
    slices: Iterable[SliceObject], port: ServicePort, version: int, node: str | None
) -> list[_Candidate]:
    found: list[_Candidate] = []
    for item in slices:
        if item.address_type != f"IPv{version}":
            continue
        number = _port_number(item, port)
        if number is None:
            continue
        for endpoint in item.endpoints or []:
            if node is None or endpoint.node_name == node:
                found += _of_endpoint(endpoint, number, PROTOCOLS[port.protocol])
    return found


def _port_number(item: SliceObject, port: ServicePort) -> int | None:
    for entry in item.ports or []:
        if (entry.name or "") == port.name and (entry.protocol or "TCP") == port.protocol:
            return entry.port
    return None


def _of_endpoint(endpoint: SliceEndpoint, port: int, protocol: int) -> list[_Candidate]:
    told = endpoint.conditions
    ready = told.ready is not False
    serving = ready if told.serving is None else told.serving
    terminating = bool(told.terminating)
    found: list[_Candidate] = []
    for address in _addresses("addresses", endpoint.addresses):
        backend = Backend(int(address), address, port, protocol, terminating)
        found.append(_Candidate(backend, ready and not terminating, serving))
    return found


def _choose(candidates: list[_Candidate]) -> tuple[Backend, ...]:
    ready = [c.backend for c in candidates if c.ready]
    serving = [c.backend for c in candidates if c.serving]
    # Of one that two slices list the form that is not terminating counts: it comes last.
    chosen = {b[:4]: b for b in sorted(ready or serving, key=lambda b: not b.terminating)}
    return tuple(sorted(chosen.values(), key=lambda b: (b.packed, b.port, b.protocol)))
