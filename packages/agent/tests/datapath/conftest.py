# SPDX-License-Identifier: Apache-2.0
"""The packet-in/packet-out harness: programs loaded once, in a bpffs and a namespace of their own.

`kernel.run` feeds one frame to an entry program and the stages behind it; the outcome holds the
verdict, the frame and mark that come out, and which counters moved.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from cilium_agent.datapath import syscall
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.programs import Programs, cleanup, ensure_programs
from cilium_agent.datapath.reporting import report_events
from cilium_agent.datapath.store import MapStore
from cilium_agent.model import DatapathSettings
from cilium_core.addresses import pack_address, pack_network
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    EndpointFlag,
    EndpointInfo,
    EndpointKey,
    IpcacheInfo,
    IpcacheKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
    TunnelInfo,
)
from cilium_core.layouts.events import Event
from cilium_core.layouts.policy import ConnectionInfo, ConnectionKey
from cilium_core.policy.tables import Row, RowKey, Step

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
POD_MAC = "02:00:00:00:00:01"
GATEWAY_MAC = "02:00:00:00:00:fe"
PEER_MAC = "02:00:00:00:00:02"
PEER_GATEWAY_MAC = "02:00:00:00:00:fd"


def mac(text: str) -> bytes:
    """Return a MAC's six bytes."""
    return bytes.fromhex(text.replace(":", ""))


class Namespace:
    """A network namespace that lives as long as this object's descriptor."""

    def __init__(self) -> None:
        """Make the namespace in a thread of its own, with loopback up."""
        thread = threading.Thread(target=self._make)
        thread.start()
        thread.join()
        self.ip("link", "set", "lo", "up")

    def _make(self) -> None:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    @property
    def path(self) -> str:
        """A path that other processes may enter by."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread into the namespace for the block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if libc.setns(self.fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home, CLONE_NEWNET)
            os.close(home)

    def run(self, *command: str) -> str:
        """Run a command inside; its output. AssertionError with what it said when it fails."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *command], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def ip(self, *words: str) -> str:
        """Run `ip` inside."""
        return self.run("ip", *words)

    def ifindex(self, name: str) -> int:
        """Return a device's number."""
        return int(self.ip("-o", "link", "show", "dev", name).split(":")[0])

    def close(self) -> None:
        """Let the namespace go."""
        os.close(self.fd)


@dataclass(frozen=True)
class Outcome:
    """What came of one frame. `reasons` are the counters that moved, as {(reason, direction)}."""

    verdict: int
    frame: bytes
    mark: int
    reasons: set[tuple[int, int]]


class Ring:
    """The event ring's reader: maps it and takes out what has been submitted."""

    BUSY, DISCARDED = 1 << 31, 1 << 30

    def __init__(self, fd: int, size: int) -> None:
        """Map the ring; one reader at a time."""
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(fd, page, offset=0)
        self._pages = mmap.mmap(fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)

    def take(self) -> list[Event]:
        """Return the events since the last call, in the order of their submission."""
        (position,) = struct.unpack_from("=Q", self._consumer)
        (end,) = struct.unpack_from("=Q", self._pages)
        events = []
        while position < end:
            at = mmap.PAGESIZE + position % self._size
            (header,) = struct.unpack_from("=I", self._pages, at)
            assert not header & (self.BUSY | self.DISCARDED)
            assert header == Event.SIZE
            events.append(Event.unpack(self._pages[at + 8 : at + 8 + header]))
            position += 8 + header
        struct.pack_into("=Q", self._consumer, 0, position)
        return events

    def close(self) -> None:
        """Unmap."""
        self._consumer.close()
        self._pages.close()


@dataclass
class Kernel:
    """Loaded programs, their maps, and the devices that frames may come in by."""

    store: MapStore
    programs: Programs
    namespace: Namespace
    pod_ifindex: int
    peer_ifindex: int
    overlay_ifindex: int
    policy: KernelPolicy
    ring: Ring

    def run(
        self, program: str, frame: bytes, *, ifindex: int = 0, mark: int = 0, came_by: int = 0
    ) -> Outcome:
        """Run one frame through a program and its tail calls.

        `came_by` is the device by which it reached this node, 0 for one that the node made.
        """
        context = bytearray(192)
        context[8:12] = mark.to_bytes(4, "little")
        context[40:44] = (ifindex or self.pod_ifindex).to_bytes(4, "little")
        context[36:40] = came_by.to_bytes(4, "little")
        before = self.counts()
        fd = self.programs.open(program)
        try:
            with self.namespace.entered():
                result = syscall.program_test_run(fd, frame, bytes(context))
        finally:
            os.close(fd)
        after = self.counts()
        moved = {key for key in after if after[key] != before.get(key, 0)}
        return Outcome(
            result.verdict,
            result.data,
            int.from_bytes(result.context[8:12], "little"),
            moved,
        )

    def repeat(self, program: str, frame: bytes, times: int) -> int:
        """Run one frame again and again; the mean of nanoseconds."""
        context = bytearray(192)
        context[40:44] = self.pod_ifindex.to_bytes(4, "little")
        fd = self.programs.open(program)
        try:
            with self.namespace.entered():
                return syscall.program_test_run(fd, frame, bytes(context), times).duration_ns
        finally:
            os.close(fd)

    def counts(self) -> dict[tuple[int, int], int]:
        """Return packets by (reason, direction)."""
        totals = self.store.metrics.totals()
        return {(key.reason, key.direction): info.count for key, info in totals.items()}

    def rows(self, rows: Mapping[RowKey, Row | None]) -> None:
        """Write policy rows."""
        self.policy.apply([Step(rows=rows)])

    def bits(self, bits: Mapping[tuple[int, int], int | None]) -> None:
        """Write peer-set bits of identities."""
        self.policy.apply([Step(bits=bits)])

    def enforce(self, endpoint_id: int, policy: int, revision: int = 1) -> None:
        """Put a policy in force on an endpoint of the known world, both families."""
        table = self.store.endpoints
        table.upsert(
            {
                key: replace(row, policy=policy, revision=revision)
                for key, row in table.current.items()
                if row.endpoint_id == endpoint_id
            }
        )

    def reidentify(self, endpoint_id: int, identity: int) -> None:
        """Give an endpoint of the known world another identity."""
        table = self.store.endpoints
        table.upsert(
            {
                key: replace(row, identity=identity)
                for key, row in table.current.items()
                if row.endpoint_id == endpoint_id
            }
        )

    def connections(self) -> dict[ConnectionKey, ConnectionInfo]:
        """Return the connection table."""
        return dict(self.store.connections.items())

    def expire(self, seconds: int) -> None:
        """Let every connection be so much older."""
        aged = {
            key: replace(info, expires=max(info.expires - seconds, 0))
            for key, info in self.connections().items()
        }
        self.store.connections.update_many(aged)

    def service(self, vip: str, port: int, proto: int, backends: list[tuple[str, int]]) -> None:
        """Write a service (number = port) with its backends (numbers from port * 10)."""
        slots, rows = {}, {}
        for number, (address, backend_port) in enumerate(backends):
            backend_id = port * 10 + number
            slots[SlotKey(port, number)] = SlotInfo(backend_id, port)
            rows[BackendKey(backend_id)] = BackendInfo(
                pack_address(address), backend_port, proto, backend_id=backend_id
            )
        self.store.backends.upsert(rows)
        self.store.slots.upsert(slots)
        key = ServiceKey(pack_address(vip), port, proto)
        self.store.services.upsert({key: ServiceInfo(port, len(backends))})


WORLDS = {
    4: {
        "pod": "10.0.0.10",
        "peer": "10.0.0.11",
        "remote": "10.0.1.20",
        "remote_listed": "10.0.1.21",
        "node": "172.30.0.11",
        "world": "198.51.100.1",
        "vip": "10.96.0.10",
        "pool": "10.0.1.0/24",
        "tunnel": "172.30.0.12",
    },
    6: {
        "pod": "fd00::10",
        "peer": "fd00::11",
        "remote": "fd00::120",
        "remote_listed": "fd00::121",
        "node": "fd00:30::11",
        "world": "2001:db8::1",
        "vip": "fd00:96::10",
        "pool": "fd00::100/120",
        "tunnel": "fd00:30::12",
    },
}


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bpffs")
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def new_namespace() -> Iterator[Callable[[], Namespace]]:
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()


COSTS: list[str] = []  # what a run prints at its end, so that CI shows how programs grow


@pytest.fixture(scope="session")
def costs() -> list[str]:
    return COSTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the programs' sizes and costs."""
    if COSTS:
        terminalreporter.section("eBPF programs")
        for line in COSTS:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def loaded(bpffs: Path, new_namespace: Callable[[], Namespace]) -> Iterator[Kernel]:
    namespace = new_namespace()
    for name in ("pod", "peer", "overlay"):
        namespace.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
        namespace.ip("link", "set", name, "up")
        namespace.ip("link", "set", f"{name}-peer", "up")
    overlay = namespace.ifindex("overlay")
    settings = DatapathSettings(1, overlay, bytes(6), 0, 1450, True, True)
    root = bpffs / "harness"
    programs = asyncio.run(ensure_programs(settings, root))
    store = MapStore(root / "maps")
    ring = Ring(store.events.fd, store.events.spec.max_entries)
    yield Kernel(
        store,
        programs,
        namespace,
        namespace.ifindex("pod"),
        namespace.ifindex("peer"),
        overlay,
        KernelPolicy(store),
        ring,
    )
    ring.close()
    store.close()
    cleanup(root)
    assert not root.exists()


@pytest.fixture
def kernel(loaded: Kernel) -> Kernel:
    """The loaded programs over a small known world, both families; what a test adds is removed."""
    endpoints, ipcache, tunnels = {}, {}, {}
    for world in WORLDS.values():
        pod, peer, node = (pack_address(world[name]) for name in ("pod", "peer", "node"))
        endpoints[EndpointKey(pod)] = EndpointInfo(
            pod, loaded.pod_ifindex, 1001, 7, 0, mac(POD_MAC), mac(GATEWAY_MAC)
        )
        endpoints[EndpointKey(peer)] = EndpointInfo(
            peer, loaded.peer_ifindex, 1002, 8, 0, mac(PEER_MAC), mac(PEER_GATEWAY_MAC)
        )
        endpoints[EndpointKey(node)] = EndpointInfo(
            node, 0, 1, 0, int(EndpointFlag.HOST), bytes(6), bytes(6)
        )
        tunnel = pack_address(world["tunnel"])
        tunnels[IpcacheKey(*pack_network(world["pool"]))] = TunnelInfo(tunnel, 2)
        ipcache[IpcacheKey(*pack_network(world["remote_listed"]))] = IpcacheInfo(1003, 0, tunnel)
        host = IpcacheKey(*pack_network(str(ip_address(world["node"]))))
        ipcache[host] = IpcacheInfo(1)
    store = loaded.store
    store.endpoints.replace(endpoints)
    store.ipcache.replace(ipcache)
    store.tunnels.replace(tunnels)
    for table in (store.services, store.slots, store.backends, store.redirects):
        table.replace({})
    store.translations.delete_many([key for key, _ in store.translations.items()])
    store.reverse.delete_many([key for key, _ in store.reverse.items()])
    store.connections.delete_many([key for key, _ in store.connections.items()])
    store.fragments.delete_many([key for key, _ in store.fragments.items()])
    loaded.rows(dict.fromkeys(loaded.policy.tables.rows))
    loaded.bits(dict.fromkeys(loaded.policy.tables.bits))
    report_events(store)
    loaded.ring.take()
    return loaded


@pytest.fixture(scope="session")
def worlds() -> dict[int, dict[str, str]]:
    """The addresses of the known world, by family."""
    return WORLDS
