# SPDX-License-Identifier: Apache-2.0
"""Addresses and CIDRs out of Node and CiliumNode objects. Pure.

A field that cannot be used is left out and put on the caller's list of problems: one object must
not keep an agent from all the others.
"""

from __future__ import annotations

from collections.abc import Iterable

from cilium_agent.k8s.objects import NodeObject
from cilium_core.addresses import Address, Network, parse_address
from cilium_core.cidr import parse_network
from cilium_core.crds.models import CiliumNode
from cilium_core.errors import FieldError

INTERNAL_IP = "InternalIP"
EXTERNAL_IP = "ExternalIP"
ROUTER_IP = "CiliumInternalIP"
Problems = list[FieldError]


def addresses_of(node: CiliumNode, kind: str, problems: Problems | None = None) -> list[Address]:
    """Return the node's addresses of one type, in order; text that is no address is left out."""
    found: list[Address] = []
    for index, entry in enumerate(node.spec.addresses):
        if entry.type == kind:
            try:
                found.append(parse_address(f"spec.addresses[{index}].ip", entry.ip))
            except FieldError as error:
                _note(problems, error)
    return found


def pod_cidrs(texts: Iterable[str], problems: Problems | None = None) -> list[Network]:
    """Return the networks of spec.ipam.podCIDRs in order; what is no CIDR is left out."""
    found: list[Network] = []
    for index, text in enumerate(texts):
        try:
            found.append(parse_network(f"spec.ipam.podCIDRs[{index}]", text))
        except FieldError as error:
            _note(problems, error)
    return found


def announced(node: NodeObject, problems: Problems | None = None) -> list[tuple[str, Address]]:
    """Return the (type, address) pairs of a Node that others may reach it by, in order."""
    found: list[tuple[str, Address]] = []
    for index, entry in enumerate(node.status.addresses):
        if entry.type in (INTERNAL_IP, EXTERNAL_IP):
            try:
                address = parse_address(f"status.addresses[{index}].address", entry.address)
                found.append((entry.type, address))
            except FieldError as error:
                _note(problems, error)
    return found


def _note(problems: Problems | None, error: FieldError) -> None:
    if problems is not None:
        problems.append(error)
