# SPDX-License-Identifier: Apache-2.0
"""Attaching pods to real namespaces over in-memory ports."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from agent_fakes import Agent, Namespace, make_agent, pod

from cilium_agent.endpoints.attachment import Attachment, host_interface
from cilium_agent.endpoints.errors import AttachRefused, NoSuchEndpoint
from cilium_agent.errors import PodGone
from cilium_agent.host.errors import LinkError
from cilium_agent.host.netns import in_netns
from cilium_agent.model import Endpoint, EndpointState

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]
NOTHING = {
    "addresses": set(),
    "endpoints": [],
    "attached": set(),
    "in force": {},
    "published": {},
    "policies": {},
    "moving": set(),
}
STEPS = ["row", "link", "attach", "configure", "identity", "policy", "upsert", "recheck", "ready"]


def attachment(netns: str, name: str = "web", container: str = "c1") -> Attachment:
    return Attachment(container, "eth0", netns, "default", name, f"uid-{name}")


async def assert_nothing_left(agent: Agent) -> None:
    assert agent.leaks() == NOTHING
    assert await agent.manager.store.load() == []
    assert await agent.manager.links.present() == []


async def facts(endpoint: Endpoint) -> dict[str, object]:
    """Return what the pod's namespace holds, as text."""

    def look(route) -> dict[str, object]:
        index = route.link_lookup(ifname=endpoint.interface)[0]
        link = route.get_links(index)[0]
        routes = {
            (m["dst_len"], m.get_attr("RTA_DST"), m.get_attr("RTA_GATEWAY")): m
            for family in (2, 10)
            for m in route.get_routes(family=family, oif=index, table=254)
        }
        return {
            "mtu": link.get_attr("IFLA_MTU"),
            "mac": link.get_attr("IFLA_ADDRESS"),
            "lo up": bool(route.get_links(1)[0]["flags"] & 1),
            "addresses": {
                f"{m.get_attr('IFA_ADDRESS')}/{m['prefixlen']}"
                for m in route.get_addr(index=index)
                if not m.get_attr("IFA_ADDRESS").startswith("fe80")
            },
            "neighbours": {
                m.get_attr("NDA_DST"): (m.get_attr("NDA_LLADDR"), m["state"])
                for family in (2, 10)
                for m in route.get_neighbours(family=family, ifindex=index)
                if m["state"] == 0x80
            },
            "routes": {
                key: m.get_attr("RTA_METRICS").get_attr("RTAX_MTU")
                for key, m in routes.items()
                if m.get_attr("RTA_METRICS")
            },
        }

    return await in_netns(endpoint.netns, "look", look)


async def test_add_connects_both_families(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await agent.manager.create(attachment(pod_netns.path))
    assert endpoint.state is EndpointState.READY
    assert endpoint.host_interface == host_interface("c1", "eth0")
    seen = await facts(endpoint)
    assert seen["mtu"] == 1500
    assert seen["lo up"]
    assert seen["mac"] == endpoint.mac.hex(":")
    assert seen["addresses"] == {"10.0.0.2/32", "fd00::2/128"}
    mac = endpoint.node_mac.hex(":")
    assert seen["neighbours"] == {"10.0.0.1": (mac, 0x80), "fd00::1": (mac, 0x80)}
    assert seen["routes"] == {
        (32, "10.0.0.1", None): 1450,
        (0, None, "10.0.0.1"): 1450,
        (128, "fd00::1", None): 1450,
        (0, None, "fd00::1"): 1450,
    }
    assert agent.datapath.attached == {endpoint.host_ifindex}
    assert agent.datapath.endpoints == {endpoint.endpoint_id: endpoint} or (
        agent.datapath.endpoints[endpoint.endpoint_id].identity == endpoint.identity
    )
    assert agent.objects.published == {"web": endpoint}
    assert await agent.manager.store.load() == [endpoint]
    assert await agent.manager.check("c1", "eth0") == (endpoint, [])


async def test_delete_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    await agent.manager.create(attachment(pod_netns.path))
    await agent.manager.delete("c1", "eth0")
    await assert_nothing_left(agent)
    await agent.manager.delete("c1", "eth0")
    await assert_nothing_left(agent)


@pytest.mark.parametrize("failing", STEPS)
async def test_a_failing_step_leaves_nothing(
    tmp_path: Path, pod_netns: Namespace, failing: str
) -> None:
    def step(name: str) -> None:
        if name == failing:
            raise LinkError(f"injected before {name}")

    agent = await make_agent(tmp_path / "e.db", pod("web"), step=step)
    with pytest.raises(LinkError, match=failing):
        await agent.manager.create(attachment(pod_netns.path))
    await assert_nothing_left(agent)


@pytest.mark.parametrize("failing", ["attach", "upsert"])
async def test_a_failing_datapath_leaves_nothing(
    tmp_path: Path, pod_netns: Namespace, failing: str
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    agent.datapath.failing = failing
    with pytest.raises(OSError, match=failing):
        await agent.manager.create(attachment(pod_netns.path))
    agent.datapath.failing = ""
    await assert_nothing_left(agent)
    await agent.manager.create(attachment(pod_netns.path))


@pytest.mark.parametrize("cancelled", STEPS)
async def test_a_cancelled_add_leaves_nothing(
    tmp_path: Path, pod_netns: Namespace, cancelled: str
) -> None:
    def step(name: str) -> None:
        if name == cancelled:
            task.cancel()

    agent = await make_agent(tmp_path / "e.db", pod("web"), step=step)
    task = asyncio.create_task(agent.manager.create(attachment(pod_netns.path)))
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_nothing_left(agent)


async def test_a_pod_deleted_while_being_added(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    agent.pods.on_get = lambda number: agent.pods.pods.clear() if number == 2 else None
    with pytest.raises(PodGone, match="default/web"):
        await agent.manager.create(attachment(pod_netns.path))
    await assert_nothing_left(agent)


async def test_a_pod_of_another_uid_is_refused(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web", uid="newer"))
    with pytest.raises(PodGone):
        await agent.manager.create(attachment(pod_netns.path))
    await assert_nothing_left(agent)


async def test_a_missing_uid_is_taken_from_the_api(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await agent.manager.create(replace(attachment(pod_netns.path), pod_uid=""))
    assert endpoint.pod_uid == "uid-web"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"node": "node2"}, "K8S_POD_NAME"),
        ({"host_network": True}, "K8S_POD_NAME"),
    ],
)
async def test_pods_that_are_not_ours_are_refused(
    tmp_path: Path, pod_netns: Namespace, change: dict, field: str
) -> None:
    agent = await make_agent(tmp_path / "e.db", replace(pod("web"), **change))
    with pytest.raises(AttachRefused) as caught:
        await agent.manager.create(attachment(pod_netns.path))
    assert caught.value.field == field
    await assert_nothing_left(agent)


@pytest.mark.parametrize("netns", ["/nowhere/netns", "/proc/self/ns/net", "/etc/hostname"])
async def test_a_bad_namespace_is_named(tmp_path: Path, netns: str) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    with pytest.raises(AttachRefused, match="CNI_NETNS") as caught:
        await agent.manager.create(attachment(netns))
    assert netns in str(caught.value)
    await assert_nothing_left(agent)


async def test_an_interface_that_exists_is_refused(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"), pod("other"))
    await agent.manager.create(attachment(pod_netns.path))
    with pytest.raises(AttachRefused, match="CNI_IFNAME"):
        await agent.manager.create(attachment(pod_netns.path, "other", "c2"))
    assert [e.pod_name for e in agent.manager.all()] == ["web"]
    assert len(await agent.manager.links.present()) == 1


async def test_a_repeated_add_replaces_the_first(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    first = await agent.manager.create(attachment(pod_netns.path))
    second = await agent.manager.create(attachment(pod_netns.path))
    assert second.ipv4 != first.ipv4
    assert agent.manager.all() == [second]
    assert agent.manager.pool.owners() == {second.host_interface}
    assert len(await agent.manager.links.present()) == 1


async def test_the_program_is_on_the_device_to_its_end(
    tmp_path: Path, pod_netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the node's stack would forward what the pod's sockets still send, unjudged."""
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    made = await agent.manager.create(attachment(pod_netns.path))
    held: list[set[int]] = []
    remove = agent.manager.links.remove

    async def removed(name: str, ifindex: int = 0) -> None:
        held.append(set(agent.datapath.attached))
        await remove(name, ifindex)

    monkeypatch.setattr(agent.manager.links, "remove", removed)
    await agent.manager.delete(made.container_id, "eth0")
    assert held == [{made.host_ifindex}]
    await assert_nothing_left(agent)


async def test_thirty_at_once(tmp_path: Path, namespaces: list[Namespace]) -> None:
    agent = await make_agent(tmp_path / "e.db", *(pod(f"p{n}") for n in range(30)))
    namespaces.extend(Namespace() for _ in range(30))
    made = await asyncio.gather(
        *(
            agent.manager.create(attachment(ns.path, f"p{n}", f"c{n}"))
            for n, ns in enumerate(namespaces)
        )
    )
    assert len({e.ipv4 for e in made}) == len({e.ipv6 for e in made}) == 30
    assert len({e.endpoint_id for e in made}) == 30
    for endpoint in made:
        assert (await agent.manager.check(endpoint.container_id, "eth0"))[1] == []
    await asyncio.gather(*(agent.manager.delete(e.container_id, "eth0") for e in made))
    await assert_nothing_left(agent)


async def test_check_names_what_is_broken(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await agent.manager.create(attachment(pod_netns.path))

    def break_it(route) -> None:
        index = route.link_lookup(ifname="eth0")[0]
        route.addr("del", index=index, address=str(endpoint.ipv4), prefixlen=32)
        route.route("del", dst="::/0", gateway="fd00::1", oif=index)

    await in_netns(pod_netns.path, "break", break_it)
    problems = "; ".join((await agent.manager.check("c1", "eth0"))[1])
    assert "address 10.0.0.2 is missing" in problems
    assert "default route via fd00::1 is missing" in problems
    await agent.manager.links.remove(endpoint.host_interface)
    problems = "; ".join((await agent.manager.check("c1", "eth0"))[1])
    assert f"{endpoint.host_interface} is missing" in problems
    with pytest.raises(NoSuchEndpoint):
        await agent.manager.check("c2", "eth0")


async def test_new_labels_are_a_new_identity(tmp_path: Path, pod_netns: Namespace) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    before = await agent.manager.create(attachment(pod_netns.path))
    await agent.manager.labels_changed(pod("web"))
    assert agent.manager.all() == [before]
    await agent.manager.labels_changed(replace(pod("web"), labels={"app": "other"}))
    after = agent.manager.get(before.endpoint_id)
    assert after.identity != before.identity
    assert after.labels == {"k8s:app": "other"}
    assert agent.datapath.endpoints[after.endpoint_id].identity == after.identity
    assert agent.objects.published["web"] == after
    assert await agent.manager.store.load() == [after]


async def test_a_failed_removal_is_finished_by_the_next(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await agent.manager.create(attachment(pod_netns.path))
    agent.datapath.failing = "delete"
    with pytest.raises(OSError, match="delete"):
        await agent.manager.delete("c1", "eth0")
    assert agent.manager.get(endpoint.endpoint_id).state is EndpointState.DISCONNECTING
    assert IPv4Address("10.0.0.2") in agent.manager.pool.dump()
    agent.datapath.failing = ""
    await agent.manager.delete("c1", "eth0")
    await assert_nothing_left(agent)


async def test_retain_removes_only_unknown_attachments(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("a"), pod("b"))
    namespaces.extend([Namespace(), Namespace()])
    kept = await agent.manager.create(attachment(namespaces[0].path, "a", "c1"))
    gone = await agent.manager.create(attachment(namespaces[1].path, "b", "c2"))
    removed = await agent.manager.retain({("c1", "eth0")})
    assert [e.endpoint_id for e in removed] == [gone.endpoint_id]
    assert agent.manager.all() == [kept]


async def test_policy_is_prepared_before_the_kernel_sees_an_identity(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    seen: list[tuple[int, int, bool]] = []
    upsert = agent.datapath.upsert

    async def watched(endpoint: Endpoint) -> None:
        prepared, _ = agent.policy.subjects[endpoint.endpoint_id]
        seen.append((endpoint.identity, prepared, endpoint.endpoint_id in agent.policy.moving))
        await upsert(endpoint)

    agent.datapath.upsert = watched  # type: ignore[method-assign]
    made = await agent.manager.create(attachment(pod_netns.path))
    await agent.manager.labels_changed(replace(pod("web"), labels={"app": "new"}))
    changed = agent.manager.get(made.endpoint_id)
    assert seen == [
        (made.identity, made.identity, True),
        (changed.identity, changed.identity, True),
    ]
    assert agent.policy.moving == set()


async def test_without_room_for_its_policy_a_pod_is_not_added(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    agent.policy.error = LinkError("the map is full")
    with pytest.raises(LinkError, match="full"):
        await agent.manager.create(attachment(pod_netns.path))
    await assert_nothing_left(agent)
