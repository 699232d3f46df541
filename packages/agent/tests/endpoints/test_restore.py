# SPDX-License-Identifier: Apache-2.0
"""What a started agent adopts, whatever became of rows, maps and pods, and what it removes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from agent_fakes import ADDRESSING, Agent, Namespace, make_agent, pod

from cilium_agent.endpoints.attachment import Attachment
from cilium_agent.endpoints.restore import restore
from cilium_agent.host.netns import on_node
from cilium_agent.model import Endpoint
from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointInfo, EndpointKey

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]


def attachment(netns: str, name: str = "web", container: str = "c1") -> Attachment:
    return Attachment(container, "eth0", netns, "default", name, f"uid-{name}")


def pinned(*endpoints: Endpoint) -> dict[EndpointKey, EndpointInfo]:
    return {
        EndpointKey(pack_address(address)): EndpointInfo(
            addr=pack_address(address),
            ifindex=e.host_ifindex,
            identity=e.identity,
            endpoint_id=e.endpoint_id,
            flags=0,
            mac=e.mac,
            node_mac=e.node_mac,
        )
        for e in endpoints
        for address in (e.ipv4, e.ipv6)
        if address is not None
    }


async def begin(
    database: Path, namespaces: list[Namespace], *names: str, **options
) -> tuple[Agent, list[Endpoint]]:
    """Return an agent with these pods running, all of them in the list of its endpoints."""
    agent = await make_agent(database, *(pod(name) for name in names), **options)
    endpoints = []
    for n, name in enumerate(names):
        namespaces.append(Namespace())
        request = attachment(namespaces[-1].path, name, f"c{n}")
        endpoints.append(await agent.manager.create(request))
    return agent, endpoints


async def restarted(agent: Agent, database: Path, **options) -> Agent:
    """Return the successor of an agent that died; what was in its memory is lost."""
    await agent.manager.store.close()
    pods = agent.pods.pods.values()
    return await make_agent(database, *pods, **options)


async def link_names() -> set[str]:
    return {
        link.get_attr("IFLA_IFNAME")
        for link in await on_node("list", lambda route: list(route.get_links()))
        if link.get_attr("IFLA_IFNAME").startswith("lxc")
    }


async def test_finished_endpoints_are_adopted_as_they_are(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    first, (row,) = await begin(tmp_path / "e.db", namespaces, "web")
    agent = await restarted(first, tmp_path / "e.db")
    report = await restore(agent.manager, {})
    assert report.adopted == [row.endpoint_id]
    assert report.rebuilt == []
    assert agent.manager.all() == [row]
    assert agent.datapath.attached == {row.host_ifindex}
    assert agent.datapath.endpoints == {row.endpoint_id: row}
    assert agent.objects.published == {"web": row}
    assert set(agent.manager.pool.dump().values()) == {"router", row.host_interface}
    assert (await agent.manager.check("c0", "eth0"))[1] == []


async def test_what_is_gone_is_removed(tmp_path: Path, namespaces: list[Namespace]) -> None:
    first, (stay, gone) = await begin(tmp_path / "e.db", namespaces, "stay", "gone")
    await first.manager.links.remove(gone.host_interface)
    agent = await restarted(first, tmp_path / "e.db")
    report = await restore(agent.manager, pinned(stay, gone))
    assert report.adopted == [stay.endpoint_id]
    assert report.removed == [gone.endpoint_id]
    assert agent.manager.pool.owners() == {stay.host_interface}
    assert [e.pod_name for e in await agent.manager.store.load()] == ["stay"]
    assert await link_names() == {stay.host_interface}


async def test_a_path_that_cannot_be_seen_does_not_end_a_running_pod(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    first = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await first.manager.create(attachment(pod_netns.path))
    await first.manager.store.put(replace(endpoint, netns="/not/mounted/here"))
    await first.manager.store.close()
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    assert (await restore(agent.manager, {})).adopted == [endpoint.endpoint_id]


async def test_a_removal_cut_short_is_finished(tmp_path: Path, pod_netns: Namespace) -> None:
    first = await make_agent(tmp_path / "e.db", pod("web"))
    await first.manager.create(attachment(pod_netns.path))
    first.datapath.failing = "delete"
    with pytest.raises(OSError, match="delete"):
        await first.manager.delete("c1", "eth0")
    await first.manager.store.close()
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    await restore(agent.manager, {})
    assert not any(agent.leaks().values())
    assert await agent.manager.links.present() == []


def _absent(path: Path) -> None:
    for file in path.parent.glob("e.db*"):
        file.unlink()


def _empty(path: Path) -> None:
    _absent(path)
    path.touch()


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def _half(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("delete from endpoints where pod_name = 'b'")


@pytest.mark.parametrize("lose", [_absent, _empty, _garbage, _half])
async def test_running_pods_outlive_the_file(
    tmp_path: Path, namespaces: list[Namespace], lose: Callable[[Path], None]
) -> None:
    first, endpoints = await begin(tmp_path / "e.db", namespaces, "a", "b")
    await first.manager.store.close()
    lose(tmp_path / "e.db")
    agent = await make_agent(tmp_path / "e.db", pod("a"), pod("b"))
    report = await restore(agent.manager, pinned(*endpoints))
    assert await link_names() == {e.host_interface for e in endpoints}
    assert sorted(report.adopted) == [e.endpoint_id for e in endpoints]
    assert report.rebuilt == [e.host_interface for e in endpoints][lose is _half :]
    assert (report.removed, report.orphan_links) == ([], [])
    assert set(agent.datapath.endpoints) == {e.endpoint_id for e in endpoints}
    for old, found in zip(endpoints, agent.manager.all(), strict=True):
        if found.host_interface in report.rebuilt:
            old = replace(old, container_id="", labels={})  # what the kernel does not hold
        assert found == old
    assert agent.manager.pool.owners() == {e.host_interface for e in endpoints}
    await agent.manager.labels_changed(pod("b"))
    assert agent.manager.find("c1", "eth0").labels == {"k8s:app": "b"}
    assert agent.objects.published["b"] == agent.manager.find("c1", "eth0")
    assert (await agent.manager.check("c1", "eth0"))[1] == []
    for number in range(2):
        await agent.manager.delete(f"c{number}", "eth0")
    assert not any(agent.leaks().values())


async def test_a_rebuild_that_is_cut_short_is_gone_on_with(
    tmp_path: Path, namespaces: list[Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, endpoints = await begin(tmp_path / "e.db", namespaces, "a", "b", "c")
    await first.manager.store.close()
    _garbage(tmp_path / "e.db")
    killed = await make_agent(tmp_path / "e.db")
    attach, number = killed.datapath.attach, iter(range(9))

    async def dies_at_the_second(endpoint: Endpoint) -> None:
        if next(number) == 1:
            raise KeyboardInterrupt
        await attach(endpoint)

    monkeypatch.setattr(killed.datapath, "attach", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        await restore(killed.manager, pinned(*endpoints))
    assert len(await killed.manager.store.load()) == 1
    agent = await restarted(killed, tmp_path / "e.db")
    report = await restore(agent.manager, pinned(*endpoints))
    assert sorted(report.adopted) == [e.endpoint_id for e in endpoints]
    assert len(report.rebuilt) == 2
    assert await link_names() == {e.host_interface for e in endpoints}


async def test_links_of_another_cni_are_left_alone(tmp_path: Path) -> None:
    def make(route) -> None:
        for name, alias in (("lxc0123456789ab", ""), ("lxcba9876543210", "eth0 of a pod")):
            route.link("add", ifname=name, kind="veth", peer=name.replace("lxc", "pod"))
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, state="up", ifalias=alias)

    await on_node("another CNI's", make)
    agent = await make_agent(tmp_path / "e.db")
    report = await restore(agent.manager, {})
    assert set(report.kept_links) == await link_names() == {"lxc0123456789ab", "lxcba9876543210"}
    assert not any(agent.leaks().values())


@pytest.mark.parametrize("seen", [True, False])
async def test_an_end_that_was_never_configured_is_removed_with_its_link(
    tmp_path: Path, namespaces: list[Namespace], seen: bool
) -> None:
    def step(name: str) -> None:
        if name == "configure":
            raise KeyboardInterrupt

    namespaces.append(Namespace())
    first = await make_agent(tmp_path / "e.db", pod("web"), step=step)
    first.manager._undo = lambda name: asyncio.sleep(0)  # it dies: nothing is undone
    with pytest.raises(KeyboardInterrupt):
        await first.manager.create(attachment(namespaces[0].path))
    (link,) = await first.manager.links.present()
    await first.manager.store.close()
    _absent(tmp_path / "e.db")
    if not seen:
        alias = link.alias.replace(namespaces[0].path, "/not/mounted/here")
        await on_node("alias", lambda route: route.link("set", index=link.ifindex, ifalias=alias))
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    agent.datapath.attached = {link.ifindex}
    report = await restore(agent.manager, {})
    assert report.orphan_links == [link.name] * seen
    assert report.kept_links == [link.name] * (not seen)
    assert len(await link_names()) == (not seen)
    assert agent.datapath.attached == (set() if seen else {link.ifindex})
    assert await agent.manager.store.load() == []
    await agent.manager.delete("c1", "eth0")  # the runtime takes the failed ADD back
    assert await link_names() == set()


async def test_a_pod_outlives_the_loss_of_file_and_map(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    first, (web,) = await begin(tmp_path / "e.db", namespaces, "web")
    await first.manager.store.close()
    _absent(tmp_path / "e.db")
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    await restore(agent.manager, {})
    (found,) = agent.manager.all()
    assert found == replace(web, container_id="", labels={}, identity=0)
    assert agent.objects.published == {}  # nobody is told of an identity that is not known yet
    await agent.manager.labels_changed(pod("web"))
    (found,) = agent.manager.all()
    assert (found.identity, found.labels) == (web.identity, web.labels)
    assert agent.datapath.endpoints == {found.endpoint_id: found}
    assert agent.objects.published == {"web": found}


async def test_a_pod_whose_name_is_too_long_for_its_link_is_found_by_its_uid(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    name = "p" * 120  # its uid, `uid-<name>`, is long too
    first, (long,) = await begin(tmp_path / "e.db", namespaces, name)
    await first.manager.store.close()
    _absent(tmp_path / "e.db")
    agent = await make_agent(tmp_path / "e.db", pod(name))
    await restore(agent.manager, pinned(long))
    assert agent.manager.find("c0", "eth0").pod_name == ""
    await agent.manager.labels_changed(pod(name))
    assert agent.manager.find("c0", "eth0") == replace(long, container_id="")
    assert set(agent.objects.published) == {name}


OTHER_V4 = {"pod_v4": IPv4Network("10.9.0.0/24"), "router_v4": IPv4Address("10.9.0.1")}
HALF_V4 = {"pod_v4": IPv4Network("10.0.0.128/25"), "router_v4": IPv4Address("10.0.0.129")}
OTHER_V6 = {"pod_v6": IPv6Network("fd09::/120"), "router_v6": IPv6Address("fd09::1")}


@pytest.mark.parametrize(
    ("change", "outside"),
    [
        ({"pod_v6": None, "router_v6": None}, {"fd00::2"}),
        ({"pod_v4": None, "router_v4": None}, {"10.0.0.2"}),
        (OTHER_V4, {"10.0.0.2"}),
        (OTHER_V4 | OTHER_V6, {"10.0.0.2", "fd00::2"}),
        (HALF_V4, {"10.0.0.2"}),
    ],
)
async def test_a_pod_outlives_a_change_of_the_pod_cidrs(
    tmp_path: Path, namespaces: list[Namespace], change: dict, outside: set[str]
) -> None:
    first, (web,) = await begin(tmp_path / "e.db", namespaces, "web")
    first.pods.pods["default", "next"] = pod("next")
    addressing = replace(ADDRESSING, **change)
    agent = await restarted(first, tmp_path / "e.db", addressing=addressing)
    report = await restore(agent.manager, pinned(web))
    assert (report.adopted, report.removed) == ([web.endpoint_id], [])
    assert agent.manager.all() == [web]
    assert agent.datapath.endpoints == {web.endpoint_id: web}
    assert {str(address) for address in agent.manager.pool.outside()} == outside
    assert (await agent.manager.check("c0", "eth0"))[1] == []
    namespaces.append(Namespace())
    following = await agent.manager.create(attachment(namespaces[-1].path, "next", "c9"))
    assert {following.ipv4, following.ipv6}.isdisjoint({web.ipv4, web.ipv6})
    await agent.manager.delete("c9", "eth0")
    await agent.manager.delete("c0", "eth0")
    assert not any(agent.leaks().values())


@pytest.mark.parametrize("in_force", [0, 1, None])
async def test_of_two_pods_with_one_address_the_one_in_the_map_stays(
    tmp_path: Path, namespaces: list[Namespace], in_force: int | None
) -> None:
    first, pods = await begin(tmp_path / "e.db", namespaces, "older", "newer")
    pods[1] = replace(pods[1], ipv4=pods[0].ipv4)
    await first.manager.store.put(pods[1])
    agent = await restarted(first, tmp_path / "e.db")
    rows = pinned(*pods)
    key = EndpointKey(pack_address(pods[0].ipv4))
    rows[key] = replace(rows[key], ifindex=0)
    if in_force is not None:
        rows[key] = replace(rows[key], ifindex=pods[in_force].host_ifindex)
    winner, loser = (pods[1], pods[0]) if in_force is None else (pods[in_force], pods[1 - in_force])
    report = await restore(agent.manager, rows)
    assert report.adopted == [winner.endpoint_id]
    assert report.removed == [loser.endpoint_id]
    assert agent.manager.pool.owners() == {winner.host_interface}
    assert await link_names() == {winner.host_interface}


async def test_a_number_that_a_row_has_is_not_given_twice(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    first, (kept, lost) = await begin(tmp_path / "e.db", namespaces, "kept", "lost")
    await first.manager.store.delete(lost.host_interface)
    agent = await restarted(first, tmp_path / "e.db")
    rows = pinned(kept, replace(lost, endpoint_id=kept.endpoint_id))
    await restore(agent.manager, rows)
    numbers = {e.host_interface: e.endpoint_id for e in agent.manager.all()}
    assert numbers[kept.host_interface] == kept.endpoint_id
    assert len(set(numbers.values())) == 2


@pytest.mark.parametrize("file", ["kept", "lost"])
async def test_a_freed_address_is_not_given_out_at_once_by_the_next_agent(
    tmp_path: Path, namespaces: list[Namespace], file: str
) -> None:
    first, (_, b, c) = await begin(tmp_path / "e.db", namespaces, "a", "b", "c")
    await first.manager.delete("c1" if file == "lost" else "c2", "eth0")
    alive = [e for e in first.manager.all()]
    agent = await restarted(first, tmp_path / "e.db")
    if file == "lost":
        await agent.manager.store.close()
        _absent(tmp_path / "e.db")
        agent = await make_agent(tmp_path / "e.db", *agent.pods.pods.values())
    await restore(agent.manager, pinned(*alive))
    namespaces.append(Namespace())
    following = await agent.manager.create(attachment(namespaces[-1].path, "b", "c9"))
    assert c.ipv4
    assert c.ipv6
    assert (following.ipv4, following.ipv6) == (c.ipv4 + 1, c.ipv6 + 1)
    assert following.endpoint_id == c.endpoint_id + 1


async def test_a_row_of_an_earlier_link_goes_and_the_link_stays(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    first, (again, foreign) = await begin(tmp_path / "e.db", namespaces, "again", "foreign")

    def replace_link(route) -> None:
        route.link("del", index=foreign.host_ifindex)
        route.link("add", ifname=foreign.host_interface, kind="veth", peer="other")

    await on_node("replace", replace_link)
    request = attachment(namespaces[0].path, "again", "c0")
    present = await first.manager.create(request)  # a repeated ADD makes a new link
    await first.manager.store.put(again)  # and the file is of before it
    agent = await restarted(first, tmp_path / "e.db")
    report = await restore(agent.manager, pinned(present))
    assert report.adopted == [present.endpoint_id]
    assert report.rebuilt == [present.host_interface]
    assert sorted(report.removed) == [again.endpoint_id, foreign.endpoint_id]
    assert report.kept_links == [foreign.host_interface]
    assert await link_names() == {present.host_interface, foreign.host_interface}
    assert await agent.manager.store.load() == [replace(present, container_id="", labels={})]
    assert agent.manager.pool.owners() == {present.host_interface}
