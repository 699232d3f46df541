# SPDX-License-Identifier: Apache-2.0
"""What a service's address and port stand for: policy is judged on the backend's. Pure.

Backends are those of the service's EndpointSlices; a service without any, but with a selector,
has the running pods that it selects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from cilium_core.addresses import Address
from cilium_core.policy.rules import Protocol
from cilium_core.policy.trace import manifests
from cilium_core.policy.trace.parties import Pod, address, addresses


class Backend(NamedTuple):
    """An address and port behind a service."""

    address: Address
    port: int


class Frontend(NamedTuple):
    """A port of a service, and its ready backends."""

    service: str
    backends: tuple[Backend, ...]


class Services:
    """Services by their addresses and node ports."""

    def __init__(
        self,
        found: Iterable[manifests.Service],
        slices: Iterable[manifests.EndpointSlice],
        pods: Iterable[Pod],
    ) -> None:
        """Take services, their slices, and the pods that selectors can select."""
        self._slices: defaultdict[str, list[manifests.EndpointSlice]] = defaultdict(list)
        for one in slices:
            self._slices[one.service].append(one)
        self._pods = list(pods)
        self._by_name = {service.name: service for service in found}
        self._by_address = {
            one: service for service in self._by_name.values() for one in _own(service)
        }

    def knows(self, name: str) -> bool:
        """Tell whether there is a service of this `namespace/name`."""
        return name in self._by_name

    def is_virtual(self, target: Address) -> bool:
        """Tell whether an address is a service's."""
        return target in self._by_address

    def at(self, target: Address, protocol: int, port: int) -> Frontend:
        """Return what is behind a service's address; KeyError when it is no service's."""
        return self._frontend(self._by_address[target], protocol, port, target.version)

    def named(self, name: str, protocol: int, port: int) -> Frontend:
        """Return what is behind the service of a `namespace/name`. KeyError when there is none."""
        service = self._by_name[name]
        first = next(iter(_own(service)), None)
        return self._frontend(service, protocol, port, first.version if first else None)

    def at_node(self, protocol: int, port: int) -> Frontend | None:
        """Return what is behind a port of the nodes, or None when no service has it."""
        for service in self._by_name.values():
            for one in service.spec.ports or []:
                if one.node_port == port and _is(one.protocol, protocol):
                    return self._frontend(service, protocol, one.port, None)
        return None

    def _frontend(
        self, service: manifests.Service, protocol: int, port: int, version: int | None
    ) -> Frontend:
        for one in service.spec.ports or []:
            if one.port == port and _is(one.protocol, protocol):
                found = dict.fromkeys(self._backends(service, one))
                fit = (b for b in found if version in (None, b.address.version))
                return Frontend(service.name, tuple(fit))
        return Frontend(service.name, ())

    def _backends(
        self, service: manifests.Service, port: manifests.ServicePort
    ) -> Iterable[Backend]:
        if service.name in self._slices:
            for one in self._slices[service.name]:
                yield from _in_slice(one, port)
        elif service.spec.selector:
            wanted = service.spec.selector.items()
            for pod in self._pods:
                here = pod.running and pod.namespace == service.namespace
                if here and wanted <= pod.labels.items():
                    yield from _in_pod(pod, port)


def _own(service: manifests.Service) -> tuple[Address, ...]:
    spec = service.spec
    balancer = service.status.load_balancer.ingress or []
    texts = [spec.cluster_ip, *(spec.cluster_ips or []), *(spec.external_ips or [])]
    texts += [one.ip for one in balancer]
    return addresses(text for text in texts if text != "None")


def _in_slice(one: manifests.EndpointSlice, wanted: manifests.ServicePort) -> Iterable[Backend]:
    for port in one.ports or []:
        if (port.name or "") == wanted.name and port.protocol == wanted.protocol and port.port:
            for endpoint in one.endpoints or []:
                if endpoint.conditions.ready is not False:
                    for text in endpoint.addresses:
                        yield Backend(address("endpoints.addresses", text), port.port)


def _in_pod(pod: Pod, wanted: manifests.ServicePort) -> Iterable[Backend]:
    target = wanted.port if wanted.target_port is None else wanted.target_port
    protocol = Protocol[wanted.protocol]
    if isinstance(target, str):
        numbers = [n for proto, n in pod.ports.get(target, ()) if proto == protocol]
    else:
        numbers = [target]
    for one in pod.addresses:
        for number in numbers:
            yield Backend(one, number)


def _is(word: str, protocol: int) -> bool:
    return word in Protocol.__members__ and Protocol[word] == protocol
