# SPDX-License-Identifier: Apache-2.0
"""Which policy an endpoint enforces, through writes, restarts and reuse of its address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from datapath_packets import OUT, Talk, allow_all, tcp

from cilium_agent.datapath.endpoints import Enforcement, KernelEndpoints
from cilium_agent.model import Endpoint
from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointFlag, EndpointKey

pytestmark = pytest.mark.root


class NoAttachments:
    """The harness's programs are not attached to anything."""

    def __init__(self) -> None:
        self.detached: list[int] = []

    def detach_container(self, ifindex: int) -> None:
        self.detached.append(ifindex)


@pytest.fixture
def assigned() -> dict[int, tuple[int, int]]:
    """Which policy and revision endpoints have, by id, as the policy's owner says."""
    return {}


@pytest.fixture
def endpoints(kernel, assigned: dict[int, tuple[int, int]]) -> KernelEndpoints:
    attachments: Any = NoAttachments()
    return KernelEndpoints(kernel.store, attachments, assigned.get)


def endpoint(kernel, world4: dict[str, str], world6: dict[str, str], number: int = 7) -> Endpoint:
    """Return the pod of the known world."""
    return Endpoint(
        endpoint_id=number,
        container_id="c",
        interface="eth0",
        netns="/ns",
        pod_namespace="n",
        pod_name="p",
        pod_uid="u",
        ipv4=ip_address(world4["pod"]),  # type: ignore[arg-type]
        ipv6=ip_address(world6["pod"]),  # type: ignore[arg-type]
        host_interface="pod",
        host_ifindex=kernel.pod_ifindex,
        mac=bytes(6),
        node_mac=bytes(6),
        identity=1001,
    )


async def test_other_writes_leave_the_policy_in_force(
    kernel, worlds, endpoints: KernelEndpoints
) -> None:
    pod = endpoint(kernel, worlds[4], worlds[6])
    await endpoints.upsert(pod)
    assert endpoints.enforced()[7] == (0, 0)
    endpoints.enforce({7: Enforcement(5, 2), 99: Enforcement(1, 1)})
    assert endpoints.enforced() == {7: (5, 2), 8: (0, 0)}
    await endpoints.upsert(replace(pod, identity=1234))
    assert endpoints.enforced()[7] == (5, 2), "relabelled"
    again = KernelEndpoints(kernel.store, endpoints.attachments)
    await again.adopt([pod])
    assert again.enforced() == {7: (5, 2)}, "restarted"
    held = kernel.store.endpoints.current
    assert any(row.flags & EndpointFlag.HOST for row in held.values())
    assert dict(kernel.store.endpoints.kernel.items()) == held


async def test_a_pod_may_begin_under_its_policy(
    kernel, worlds, endpoints: KernelEndpoints, assigned: dict[int, tuple[int, int]]
) -> None:
    """No packet meets the address without it."""
    assigned[7] = (5, 1)
    talk = Talk(kernel, 4, worlds[4])
    kernel.store.endpoints.delete([EndpointKey(pack_address(worlds[4]["pod"]))])
    await endpoints.upsert(endpoint(kernel, worlds[4], worlds[6]))
    assert talk.pod(tcp()).reasons == {(133, OUT)}
    kernel.rows(allow_all(5))
    assert talk.pod(tcp()).reasons == {(0, OUT)}


async def test_an_endpoint_that_lost_its_row_is_cut_off_until_its_policy_is_known(
    kernel, worlds, endpoints: KernelEndpoints, assigned: dict[int, tuple[int, int]]
) -> None:
    talk = Talk(kernel, 4, worlds[4])
    kernel.rows(allow_all(5))
    kernel.store.endpoints.delete(
        [EndpointKey(pack_address(worlds[family]["pod"])) for family in (4, 6)]
    )
    await endpoints.adopt([endpoint(kernel, worlds[4], worlds[6])])
    assert talk.pod(tcp()).reasons == {(133, OUT)}
    endpoints.point()  # nobody knows it still
    assert talk.pod(tcp()).reasons == {(133, OUT)}
    assigned[7] = (5, 9)
    assert endpoints.point() == [7]
    assert endpoints.enforced() == {7: (5, 9)}
    assert talk.pod(tcp()).reasons == {(0, OUT)}


async def test_an_address_lends_nothing_to_its_next_owner(
    kernel, worlds, endpoints: KernelEndpoints, assigned: dict[int, tuple[int, int]]
) -> None:
    """Neither the policy nor the connections, whether or not the first was deleted before."""
    talk = Talk(kernel, 4, worlds[4])
    pod = endpoint(kernel, worlds[4], worlds[6])
    kernel.rows(allow_all(5))
    assigned[7] = (5, 1)
    await endpoints.upsert(pod)
    talk.pod(tcp())
    await endpoints.upsert(endpoint(kernel, worlds[4], worlds[6], number=9))
    assert endpoints.enforced() == {8: (0, 0), 9: (0, 0)}
    await endpoints.delete(pod)
    await endpoints.detach(pod)
    assert 9 in endpoints.enforced(), "the first one's end is not the second one's"
    assert len(kernel.connections()) == 2
    await endpoints.delete(replace(pod, endpoint_id=9))
    assert endpoints.attachments.detached == []  # type: ignore[attr-defined]
    await endpoints.detach(replace(pod, endpoint_id=9))
    assert endpoints.enforced() == {8: (0, 0)}
    assert kernel.connections() == {}
    assert endpoints.attachments.detached == [kernel.pod_ifindex]  # type: ignore[attr-defined]
