# SPDX-License-Identifier: Apache-2.0
"""The tables of the agent's file and how endpoints go into rows and out. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

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
