# SPDX-License-Identifier: Apache-2.0
"""Links and generations: what survives, what is replaced, what cleanup leaves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cilium_agent.datapath import programs as programs_module
from cilium_agent.datapath import syscall
from cilium_agent.datapath.attach import Attachments, pinned_links
from cilium_agent.datapath.errors import AttachFailed, MapMismatch, ProgramsUnavailable
from cilium_agent.datapath.programs import cleanup, ensure_programs, generation_of
from cilium_agent.datapath.store import MapStore
from cilium_agent.loader.request import flatten, read_sources
from cilium_agent.model import DatapathSettings
from cilium_core.layouts.sizes import MapSizes
from cilium_core.layouts.spec import MapKind

pytestmark = pytest.mark.root

SETTINGS = DatapathSettings(1, 1, bytes(6), 0, 1450, True, True)


@pytest.fixture
def root(bpffs: Path) -> Iterator[Path]:
    folder = bpffs / "attach-test"
    yield folder
    cleanup(folder)
    assert not folder.exists()


@pytest.fixture
def device(new_namespace: Callable):
    namespace = new_namespace()
    namespace.ip("link", "add", "dev0", "type", "veth", "peer", "name", "dev1")
    with namespace.entered():
        yield namespace


def program_on(pin: Path) -> int:
    fd = syscall.obj_get(pin)
    assert fd is not None
    try:
        return syscall.link_info(fd).program_id
    finally:
        os.close(fd)


def program_id(programs, name: str) -> int:
    fd = programs.open(name)
    try:
        return syscall.program_info(fd).program_id
    finally:
        os.close(fd)


async def test_a_generation_is_loaded_once_and_replaced_on_every_hook(root: Path, device) -> None:
    (root / "maps").mkdir(parents=True, exist_ok=True)
    older = root / "maps" / "cilium_lxc_v1"
    fd = syscall.map_create(MapKind.HASH, 16, 40, 8, 0, "lxc_v1")
    syscall.obj_pin(fd, older)
    os.close(fd)
    first = await ensure_programs(SETTINGS, root)
    assert first.report, "a fresh load reports"
    assert not older.exists()
    again = await ensure_programs(SETTINGS, root)
    assert (again.generation, again.report) == (first.generation, ())
    ifindex = device.ifindex("dev0")
    attachments = Attachments(first, root)
    attachments.attach_container(ifindex)
    attachments.attach_container(ifindex)  # again is harmless
    attachments.attach_host(ifindex)
    pin = root / "links" / f"from_container-{ifindex}"
    assert program_on(pin) == program_id(first, "from_container")
    second = await ensure_programs(replace(SETTINGS, vxlan_ifindex=2), root)
    assert second.generation != first.generation
    assert program_on(pin) == program_id(second, "from_container")
    assert program_on(root / "links" / f"from_host-{ifindex}") == program_id(second, "from_host")
    assert [path.name for path in (root / "progs").iterdir()] == [second.generation]


async def test_programs_use_a_map_of_another_size(root: Path, device) -> None:
    store = MapStore(root / "maps", MapSizes(connections=2048, services=1024))
    try:
        programs = await ensure_programs(SETTINGS, root)
        shown = json.loads(
            await asyncio.to_thread(
                subprocess.check_output,
                ["bpftool", "-j", "prog", "show", "pinned", str(programs.directory / "egress")],
            )
        )
        assert syscall.map_info(store.connections.fd).max_entries == 2048
        for table in (store.connections, store.services.kernel):
            assert syscall.map_info(table.fd).map_id in shown["map_ids"], table.spec.name
    finally:
        store.close()


async def test_a_failed_load_keeps_what_serves(root: Path, device) -> None:
    with pytest.raises(ProgramsUnavailable, match="ended with 1"):
        await ensure_programs(SETTINGS, root, interpreter="/bin/false")
    first = await ensure_programs(SETTINGS, root)
    kept = await ensure_programs(replace(SETTINGS, mtu=1, vxlan_ifindex=9), root, "/bin/false")
    assert (kept.generation, kept.current) == (first.generation, False)


async def test_a_foreign_map_stops_the_load_and_is_named(root: Path, device) -> None:
    MapStore(root / "maps").close()
    name = "cilium_lxc_v2"
    (root / "maps" / name).unlink()
    fd = syscall.map_create(1, 4, 4, 8, 0, "other")
    syscall.obj_pin(fd, root / "maps" / name)
    os.close(fd)
    with pytest.raises(MapMismatch, match=name):
        MapStore(root / "maps")
    with pytest.raises(ProgramsUnavailable, match=name):
        await ensure_programs(SETTINGS, root)
    assert programs_module.generations(root / "progs") == []


async def test_links_of_dead_devices_are_forgotten(root: Path, device) -> None:
    programs = await ensure_programs(SETTINGS, root)
    attachments = Attachments(programs, root)
    ifindex = device.ifindex("dev0")
    attachments.attach_container(ifindex)
    device.ip("link", "del", "dev0")
    assert attachments.refresh() == 0
    assert pinned_links(root / "links") == []
    with pytest.raises(AttachFailed, match=f"ifindex {ifindex}"):
        attachments.attach_container(ifindex)


async def test_detach_and_a_number_that_is_used_again(root: Path, device) -> None:
    programs = await ensure_programs(SETTINGS, root)
    attachments = Attachments(programs, root)
    ifindex = device.ifindex("dev0")
    attachments.attach_container(ifindex)
    device.ip("link", "del", "dev0")
    device.ip("link", "add", "dev9", "index", str(ifindex), "type", "veth", "peer", "name", "dev8")
    attachments.attach_container(ifindex)
    assert program_on(root / "links" / f"from_container-{ifindex}") > 0
    attachments.detach_container(ifindex)
    attachments.detach_container(ifindex)
    assert pinned_links(root / "links") == []


async def test_the_listener_s_program_follows_the_namespace(
    root: Path, device, new_namespace: Callable
) -> None:
    first = await ensure_programs(SETTINGS, root)
    attachments = Attachments(first, root)
    pin = root / "links" / "pick_listener"
    for _ in range(2):
        attachments.attach_netns()
        assert program_on(pin) == program_id(first, "pick_listener")
    second = await ensure_programs(replace(SETTINGS, vxlan_ifindex=2), root)
    assert program_on(pin) == program_id(second, "pick_listener")
    with new_namespace().entered():
        inode = os.stat("/proc/thread-self/ns/net").st_ino
        Attachments(second, root).attach_netns()
    fd = syscall.obj_get(pin)
    assert fd is not None
    assert syscall.link_info(fd).target == inode, "the node's is another one now"
    os.close(fd)
    attachments.detach_netns()
    assert pinned_links(root / "links") == []


async def test_a_path_that_is_no_cgroup(root: Path, tmp_path: Path, device) -> None:
    attachments = Attachments(await ensure_programs(SETTINGS, root), root)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(AttachFailed, match=str(path)):
            attachments.attach_cgroup(path)


def test_the_generation_follows_what_is_compiled_and_nothing_else() -> None:
    names = {
        generation_of(SETTINGS),
        generation_of(replace(SETTINGS, vxlan_ifindex=2)),
        generation_of(replace(SETTINGS, enable_ipv6=False)),
    }
    assert len(names) == 3
    assert generation_of(replace(SETTINGS, node_netns_cookie=5, mtu=9000)) in names


def test_flattening_names_lines_and_missing_files() -> None:
    text = flatten({"datapath.c": '#include <a.h>\n#include "b.h"\nint c;', "b.h": "int b;"})
    expected = ['#line 1 "datapath.c"', "#include <a.h>", '#line 1 "b.h"', "int b;"]
    assert text.splitlines() == [*expected, '#line 3 "datapath.c"', "int c;"]
    with pytest.raises(KeyError, match="gone.h"):
        flatten({"datapath.c": '#include "gone.h"'})
    sources = dict(read_sources())
    flat = flatten(sources)
    for name in sources:
        assert flat.count(f'#line 1 "{name}"') == 1, f"{name} is not compiled"
