# SPDX-License-Identifier: Apache-2.0
"""From the words for an end (`shop/web`, `ip:10.0.0.1`, `node:n1`) to who it is. Pure."""

from __future__ import annotations

from typing import NamedTuple

from cilium_core.errors import FieldError
from cilium_core.identity import Reserved
from cilium_core.policy.cidr import world as world_label
from cilium_core.policy.language.fields import one_of
from cilium_core.policy.trace.parties import Party, address
from cilium_core.policy.trace.probe import Probe
from cilium_core.policy.trace.services import Frontend
from cilium_core.policy.trace.world import World

_MANY = ("all", "cluster", "cluster-mesh", "none")
_ENTITIES = tuple(m.label for m in Reserved if m not in (Reserved.UNKNOWN, Reserved.HOST))
_HOST = "entity:host"
_FORMS = ("pod", "ip", "node", "entity", "svc", "fqdn")


class Target(NamedTuple):
    """Where a packet arrives, once services are translated."""

    party: Party
    protocol: int
    port: int


class Targets(NamedTuple):
    """The target, or with a `service` its backends (maybe none)."""

    service: str
    found: tuple[Target, ...]


def ends(world: World, probe: Probe) -> tuple[Party, Targets]:
    """Return both ends of a probe. FieldError, for `from` or `to`, when there is no such end."""
    if probe.source == _HOST:
        targets = _targets(world, probe, None)
        node = targets.found[0].party.node if targets.found else ""
        return world.host(node), targets
    source = _party(world, "from", probe.source)
    return source, _targets(world, probe, source)


def _targets(world: World, probe: Probe, source: Party | None) -> Targets:
    if probe.target == _HOST:
        party = world.host(source.node if source else "")
        return Targets("", (Target(party, *probe.over(party.version)),))
    kind, name = _form(probe.target)
    if kind == "svc":
        if not world.services.knows(name):
            raise FieldError("to", f"no service {name} is in the manifests")
        return _behind(world, probe, world.services.named(name, *probe.over(4)))
    if kind == "ip":
        target = address("to", name)
        if world.services.is_virtual(target):
            return _behind(world, probe, world.services.at(target, *probe.over(target.version)))
    party = _party(world, "to", probe.target)
    if party.is_node and (frontend := world.services.at_node(probe.protocol, probe.port)):
        return _behind(world, probe, frontend)
    return Targets("", (Target(party, *probe.over(party.version)),))


def _behind(world: World, probe: Probe, frontend: Frontend) -> Targets:
    found = (
        Target(world.at(backend.address), probe.protocol, backend.port)
        for backend in frontend.backends
    )
    return Targets(frontend.service, tuple(found))


def _form(text: str) -> tuple[str, str]:
    """Take the kind and the name of an end apart; without a kind it is an address or a pod."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in _FORMS:
        is_address = ":" in text or text.replace(".", "").isdecimal()
        kind, name = ("ip" if is_address else "pod"), text
    if kind in ("pod", "svc") and "/" not in name:
        name = f"default/{name}"
    return kind, name


def _party(world: World, field: str, text: str) -> Party:
    kind, name = _form(text)
    found: Party | None = None
    match kind:
        case "pod":
            found = world.pod(name)
        case "node":
            found = world.node(name)
        case "ip":
            found = world.at(address(field, name))
        case "entity":
            found = _entity(world, field, name)
        case "svc":
            raise FieldError(field, f"{text}: packets come from pods, not from services")
        case _:
            if field == "from":
                raise FieldError(field, f"{text}: names are for targets; use ip:")
            found = world.fqdn(name)
    if found is None:
        raise FieldError(field, f"no {kind} {name} is in the manifests")
    return found


def _entity(world: World, field: str, name: str) -> Party:
    if name in _MANY:
        raise FieldError(field, f"entity {name} stands for many or none; name one of them")
    if name not in _ENTITIES:
        raise FieldError(field, f"{name!r} is no entity; use host, {one_of(_ENTITIES)}")
    if name == Reserved.KUBE_APISERVER.label and world.apiserver:
        return world.apiserver
    label = f"reserved:{name}"
    if name == Reserved.WORLD.label:
        label = world_label(world.families[0], dual_stack=world.dual_stack)
    version = 6 if name == Reserved.WORLD_IPV6.label else world.families[0]
    return Party(f"entity:{name}", {label: ""}, version=version)
