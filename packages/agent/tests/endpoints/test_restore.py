# SPDX-License-Identifier: Apache-2.0
"""Agents killed at each step of ADD, nodes that lost pods, and a file that cannot be read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from agent_fakes import Namespace, make_agent, pod

from cilium_agent.endpoints.attachment import Attachment
from cilium_agent.endpoints.restore import restore
from cilium_agent.host.netns import in_netns, on_node
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointInfo, EndpointKey

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]
CHILD = Path(__file__).with_name("crash_child.py")
STEPS = ["row", "link", "attach", "configure", "identity", "upsert", "recheck", "ready"]


def attachment(netns: str, name: str = "web", container: str = "c1") -> Attachment:
    return Attachment(container, "eth0", netns, "default", name, f"uid-{name}")


def run_child(database: Path, netns: str, step: str) -> int:
    return subprocess.run(
        [sys.executable, str(CHILD), str(database), netns, step], capture_output=True, check=False
    ).returncode


async def pod_links(netns: str) -> list[str]:
    def names(route) -> list[str]:
        return [link.get_attr("IFLA_IFNAME") for link in route.get_links() if link["index"] != 1]

    return [n for n in await in_netns(netns, "list", names) if n == "eth0"]


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


@pytest.mark.parametrize("step", STEPS)
async def test_an_agent_killed_within_add_leaks_nothing(
    tmp_path: Path, pod_netns: Namespace, step: str
) -> None:
    database = tmp_path / "e.db"
    assert run_child(database, pod_netns.path, step) == 137
    agent = await make_agent(database, pod("web"))
    rows = await agent.manager.store.load()
    assert [row.state for row in rows] == ([] if step == "row" else [EndpointState.CREATING])
    await restore(agent.manager, {})
    assert not any(agent.leaks().values())
    assert await agent.manager.store.load() == []
    assert await agent.manager.links.present() == []
    assert await pod_links(pod_netns.path) == []
    again = await agent.manager.create(attachment(pod_netns.path))
    assert (await agent.manager.check("c1", "eth0")) == (again, [])


async def test_finished_endpoints_are_adopted_as_they_are(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    database = tmp_path / "e.db"
    assert run_child(database, pod_netns.path, "none") == 0
    agent = await make_agent(database, pod("web"), pod("next"))
    (row,) = await agent.manager.store.load()
    report = await restore(agent.manager, {})
    assert report.adopted == [row.endpoint_id]
    assert agent.manager.all() == [row]
    assert agent.datapath.attached == {row.host_ifindex}
    assert agent.datapath.endpoints == {row.endpoint_id: row}
    assert agent.objects.published == {"web": row}
    assert set(agent.manager.pool.dump().values()) == {"router", row.host_interface}
    assert (await agent.manager.check("c1", "eth0"))[1] == []


async def test_what_is_gone_is_removed_and_what_is_unknown_too(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    first = await make_agent(tmp_path / "e.db", *(pod(n) for n in ("stay", "gone", "lost")))
    namespaces.extend(Namespace() for _ in range(3))
    stay = await first.manager.create(attachment(namespaces[0].path, "stay", "c0"))
    gone = await first.manager.create(attachment(namespaces[1].path, "gone", "c1"))
    lost = await first.manager.create(attachment(namespaces[2].path, "lost", "c2"))
    await first.manager.links.remove(gone.host_interface)
    await first.manager.store.delete(lost.host_interface)
    await first.manager.store.close()

    agent = await make_agent(tmp_path / "e.db", pod("stay"))
    report = await restore(agent.manager, {})
    assert report.adopted == [stay.endpoint_id]
    assert report.removed == [gone.endpoint_id]
    assert report.orphan_links == [lost.host_interface]
    assert agent.manager.pool.owners() == {stay.host_interface}
    assert [e.pod_name for e in await agent.manager.store.load()] == ["stay"]
    assert [link.name for link in await agent.manager.links.present()] == [stay.host_interface]


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


async def test_a_corrupt_file_is_rebuilt_from_the_kernel(
    tmp_path: Path, namespaces: list[Namespace]
) -> None:
    database = tmp_path / "e.db"
    first = await make_agent(database, pod("web"), pod("unmapped"))
    namespaces.extend([Namespace(), Namespace()])
    web = await first.manager.create(attachment(namespaces[0].path))
    unmapped = await first.manager.create(attachment(namespaces[1].path, "unmapped", "c2"))
    await first.manager.store.close()
    database.write_bytes(b"not a database at all" * 100)

    agent = await make_agent(database, pod("web"))
    assert agent.manager.store.was_corrupt
    assert database.with_name("e.db.corrupt-1").read_bytes().startswith(b"not a database")
    report = await restore(agent.manager, pinned(web))
    assert report.rebuilt
    assert report.adopted == [web.endpoint_id]
    assert report.orphan_links == [unmapped.host_interface]
    (found,) = agent.manager.all()
    assert (found.ipv4, found.ipv6, found.mac, found.identity, found.pod_uid) == (
        web.ipv4,
        web.ipv6,
        web.mac,
        web.identity,
        "uid-web",
    )
    assert found.container_id == ""
    assert (await agent.manager.check("c1", "eth0"))[1] == []
    await agent.manager.resync()
    assert agent.manager.get(web.endpoint_id).labels == {"k8s:app": "web"}
    await agent.manager.delete("c1", "eth0")
    assert not any(agent.leaks().values())


async def test_a_link_reused_by_another_pod_is_not_adopted(
    tmp_path: Path, pod_netns: Namespace
) -> None:
    first = await make_agent(tmp_path / "e.db", pod("web"))
    endpoint = await first.manager.create(attachment(pod_netns.path))
    await first.manager.store.close()

    def replace_link(route) -> None:
        route.link("del", index=endpoint.host_ifindex)
        route.link("add", ifname=endpoint.host_interface, kind="veth", peer="other")

    await on_node("replace", replace_link)
    agent = await make_agent(tmp_path / "e.db", pod("web"))
    report = await restore(agent.manager, {})
    assert report.adopted == []
    assert report.removed == [endpoint.endpoint_id]
    assert await agent.manager.links.present() == []
