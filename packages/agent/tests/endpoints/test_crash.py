# SPDX-License-Identifier: Apache-2.0
"""Agents killed at each step of a CNI ADD, over the kernel's own maps, links and namespaces."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_fakes import ADDRESSING, Agent, Namespace, make_agent, pod

from cilium_agent.datapath import syscall
from cilium_agent.datapath.attach import Attachments, pinned_links
from cilium_agent.datapath.endpoints import KernelEndpoints, endpoint_rows, ipcache_rows
from cilium_agent.datapath.programs import Programs, cleanup, ensure_programs
from cilium_agent.datapath.store import MapStore
from cilium_agent.endpoints.attachment import Attachment
from cilium_agent.endpoints.restore import RestoreReport, restore
from cilium_agent.host.netns import in_netns, on_node
from cilium_agent.model import DatapathSettings, EndpointState
from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]
CHILD = Path(__file__).with_name("crash_child.py")
STEPS = ["row", "link", "attach", "configure", "identity", "upsert", "recheck", "ready"]
WITHIN = ["link made", "program attached", "ipcache written"]
REQUEST = ("default", "web", "uid-web")
SETTINGS = DatapathSettings(1, 2, bytes(6), 0, 1450, True, True)
NODE = [a for a in (ADDRESSING.node_v4, ADDRESSING.node_v6) if a is not None]
REMOTE = IpcacheKey(*pack_network("10.0.1.20/32"))


@dataclass
class Node:
    """What outlives an agent: its file, the maps and the pinned programs."""

    database: Path
    root: Path
    netns: str

    def kill_within_add(self, place: str) -> None:
        """Run an agent that dies there. AssertionError when it ended in any other way."""
        command = [sys.executable, str(CHILD), str(self.database), self.netns, str(self.root)]
        done = subprocess.run([*command, place], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def pins(self) -> list[str]:
        return [pin.name for pin in pinned_links(self.root / "links")]


@dataclass
class Successor:
    """The next agent, and what it restored."""

    agent: Agent
    store: MapStore
    report: RestoreReport


@pytest.fixture(scope="module")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bpffs root with the programs loaded once for all."""
    folder = tmp_path_factory.mktemp("bpffs")
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True)
    root = folder / "cilium"
    try:
        asyncio.run(ensure_programs(SETTINGS, root))
        yield root
    finally:
        cleanup(root)
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def node_state(tmp_path: Path, bpffs: Path, pod_netns: Namespace) -> Iterator[Node]:
    store = MapStore(bpffs / "maps")
    store.ipcache.replace({REMOTE: IpcacheInfo(1003)})
    store.endpoints.replace({})
    store.close()
    state = Node(tmp_path / "e.db", bpffs, pod_netns.path)
    assert state.pins() == []
    yield state
    for pin in pinned_links(bpffs / "links"):
        pin.unlink()


@pytest.fixture
async def start(node_state: Node) -> AsyncIterator:
    """Return a function that starts agents as the daemon does: programs, host rows, endpoints."""
    stores = []

    async def run() -> Successor:
        store = MapStore(node_state.root / "maps")
        stores.append(store)
        programs: Programs = await ensure_programs(SETTINGS, node_state.root)
        kernel = KernelEndpoints(store, Attachments(programs, node_state.root))
        kernel.replace_host_addresses(NODE)
        agent = await make_agent(node_state.database, pod("web"))
        agent.manager.datapath = kernel
        report = await restore(agent.manager, dict(store.endpoints.current))
        return Successor(agent, store, report)

    yield run
    for store in stores:
        store.close()


def link_id(pin: Path) -> int:
    fd = syscall.obj_get(pin)
    assert fd is not None
    try:
        return syscall.link_info(fd).link_id
    finally:
        os.close(fd)


async def interfaces(netns: str = "") -> set[str]:
    """Return the pods' devices in a namespace, the node's when none is named."""

    def names(route) -> set[str]:
        found = {link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        return {name for name in found if name.startswith(("lxc", "eth"))}

    return await (in_netns(netns, "list", names) if netns else on_node("list", names))


async def assert_no_trace(node: Node, successor: Successor) -> None:
    """Compare the kernel, not what the agent believes of it, with a node without the pod."""
    store = MapStore(node.root / "maps")
    try:
        assert {info.endpoint_id for info in store.endpoints.current.values()} == {0}
        assert len(store.endpoints.current) == len(NODE)
        assert dict(store.ipcache.current) == {REMOTE: IpcacheInfo(1003)}
        assert list(store.translations.items()) == []
    finally:
        store.close()
    assert node.pins() == []
    assert await interfaces() == set()
    assert await interfaces(node.netns) == set()
    manager = successor.agent.manager
    assert manager.all() == []
    assert manager.pool.owners() == set()
    assert await manager.store.load() == []
    assert successor.agent.objects.published == {}


@pytest.mark.parametrize("place", STEPS + WITHIN)
async def test_an_agent_killed_within_add_leaves_no_trace(
    node_state: Node, start, place: str
) -> None:
    node_state.kill_within_add(place)
    successor = await start()
    assert successor.report.adopted == []
    await assert_no_trace(node_state, successor)
    again = await successor.agent.manager.create(
        Attachment("c1", "eth0", node_state.netns, *REQUEST)
    )
    assert await successor.agent.manager.check("c1", "eth0") == (again, [])
    await successor.agent.manager.delete("c1", "eth0")
    await assert_no_trace(node_state, successor)


@pytest.mark.parametrize("place", ["attach", "recheck"])
async def test_nor_when_the_runtime_removed_the_sandbox_meanwhile(
    node_state: Node, start, place: str
) -> None:
    node_state.kill_within_add(place)
    (name,) = await interfaces()
    await on_node("gone", lambda r: r.link("del", index=r.link_lookup(ifname=name)[0]))
    await assert_no_trace(node_state, await start())


@pytest.mark.parametrize("lost", [False, True])
async def test_an_agent_killed_after_add_is_followed_without_a_gap(
    node_state: Node, start, lost: bool
) -> None:
    node_state.kill_within_add("none")
    store = MapStore(node_state.root / "maps")
    before = dict(store.endpoints.current)
    store.close()
    (pin,) = node_state.pins()
    link = link_id(node_state.root / "links" / pin)
    if lost:
        for file in node_state.database.parent.glob("e.db*"):
            file.unlink()
    successor = await start()
    (endpoint,) = successor.agent.manager.all()
    assert endpoint.state is EndpointState.READY
    assert successor.report.rebuilt == [endpoint.host_interface] * lost
    assert endpoint_rows(endpoint) == before
    assert ipcache_rows(endpoint).items() <= successor.store.ipcache.current.items()
    assert link_id(node_state.root / "links" / pin) == link  # never off the device
    assert (await successor.agent.manager.check("c1", "eth0"))[1] == []
    await successor.agent.manager.delete("c1", "eth0")
    await assert_no_trace(node_state, successor)
