# SPDX-License-Identifier: Apache-2.0
"""The tables of the agent's file and how endpoints go into rows and out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

import msgspec
from sqlmodel import Field, SQLModel

from cilium_agent.model import Endpoint, EndpointState


class EndpointRow(SQLModel, table=True):
    """One endpoint. `host_interface` names it for good: it is derived from the attachment."""

    __tablename__ = "endpoints"

    host_interface: str = Field(primary_key=True)
    endpoint_id: int = Field(unique=True)
    container_id: str
    interface: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    ipv4: str | None
    ipv6: str | None
    host_ifindex: int
    mac: bytes
    node_mac: bytes
    identity: int
    labels: str
    state: str


class GivenRow(SQLModel, table=True):
    """What was given out last, one row for each kind: `endpoint`, `ipv4`, `ipv6`."""

    __tablename__ = "last_given"

    kind: str = Field(primary_key=True)
    value: str


class Given(NamedTuple):
    """The endpoint id and the addresses that were given out last; 0 and None when not known."""

    endpoint_id: int = 0
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None


def given_by(endpoint: Endpoint) -> list[dict[str, str]]:
    """Return the values of the rows that a new endpoint leaves: what it was given."""
    given = {
        "endpoint": endpoint.endpoint_id,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
    }
    return [{"kind": kind, "value": str(value)} for kind, value in given.items() if value]


def to_given(rows: Iterable[GivenRow]) -> Given:
    """Return what the rows say. ValueError when a value is no number or address."""
    held = {row.kind: row.value for row in rows}
    return Given(
        endpoint_id=int(held.get("endpoint", 0)),
        ipv4=IPv4Address(held["ipv4"]) if "ipv4" in held else None,
        ipv6=IPv6Address(held["ipv6"]) if "ipv6" in held else None,
    )


def to_values(endpoint: Endpoint) -> dict[str, Any]:
    """Return the column values of an endpoint."""
    return {
        "host_interface": endpoint.host_interface,
        "endpoint_id": endpoint.endpoint_id,
        "container_id": endpoint.container_id,
        "interface": endpoint.interface,
        "netns": endpoint.netns,
        "pod_namespace": endpoint.pod_namespace,
        "pod_name": endpoint.pod_name,
        "pod_uid": endpoint.pod_uid,
        "ipv4": str(endpoint.ipv4) if endpoint.ipv4 else None,
        "ipv6": str(endpoint.ipv6) if endpoint.ipv6 else None,
        "host_ifindex": endpoint.host_ifindex,
        "mac": endpoint.mac,
        "node_mac": endpoint.node_mac,
        "identity": endpoint.identity,
        "labels": msgspec.json.encode(endpoint.labels, order="sorted").decode(),
        "state": endpoint.state.value,
    }


def to_endpoint(row: EndpointRow) -> Endpoint:
    """Return the endpoint of a row. ValueError when a column holds what none can be made of."""
    return Endpoint(
        endpoint_id=row.endpoint_id,
        container_id=row.container_id,
        interface=row.interface,
        netns=row.netns,
        pod_namespace=row.pod_namespace,
        pod_name=row.pod_name,
        pod_uid=row.pod_uid,
        ipv4=IPv4Address(row.ipv4) if row.ipv4 else None,
        ipv6=IPv6Address(row.ipv6) if row.ipv6 else None,
        host_interface=row.host_interface,
        host_ifindex=row.host_ifindex,
        mac=row.mac,
        node_mac=row.node_mac,
        identity=row.identity,
        labels=msgspec.json.decode(row.labels, type=dict[str, str]),
        state=EndpointState(row.state),
    )
