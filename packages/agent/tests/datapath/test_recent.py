# SPDX-License-Identifier: Apache-2.0
"""What CPUs keep of the tables: never older than the last write, nor than a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest
from datapath_packets import OK, OUT, REDIRECT, Talk, allow_all, frame, icmp_of, tcp, udp

from cilium_agent.datapath.errors import KernelError
from cilium_agent.datapath.store import MapStore
from cilium_core.addresses import pack_address, pack_network
from cilium_core.layouts.datapath import EndpointKey, IpcacheInfo, IpcacheKey, TunnelInfo
from cilium_core.layouts.events import ConfigIndex, ConfigKey
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
EGRESS = Direction.EGRESS
FORWARDED, DENIED = {(0, OUT)}, {(133, OUT)}
INVALID_SOURCE, NO_LISTENER = {(132, OUT)}, {(180, OUT)}


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def generation(kernel) -> int:
    info = kernel.store.config.kernel.lookup(ConfigIndex(int(ConfigKey.GENERATION)))
    assert info is not None
    return info.value


def endpoint(talk: Talk, name: str):
    key = EndpointKey(pack_address(talk.world[name]))
    return key, talk.kernel.store.endpoints.current[key]


def test_every_write_of_a_kept_table_is_told(talk: Talk) -> None:
    kernel, store = talk.kernel, talk.kernel.store
    key, row = endpoint(talk, "pod")
    other = IpcacheKey(*pack_network("192.0.2.0/24"))
    port = RowKey(9, EGRESS)
    writes: list[Callable[[], object]] = [
        lambda: store.endpoints.upsert({key: replace(row, identity=1900)}),
        lambda: store.endpoints.delete([key]),
        lambda: store.ipcache.upsert({other: IpcacheInfo(1900)}),
        lambda: store.ipcache.delete([other]),
        lambda: store.tunnels.upsert({other: TunnelInfo(pack_address("192.0.2.1"), 9)}),
        lambda: store.tunnels.delete([other]),
        lambda: kernel.rows({port: Row(any_allow=True), RowKey(9, Direction.INGRESS): Row()}),
        lambda: kernel.rows({port: None}),
    ]
    for write in writes:
        before = generation(kernel)
        write()
        assert generation(kernel) > before


def test_what_writes_nothing_is_not_told(talk: Talk) -> None:
    """CPUs would read everything anew for it."""
    kernel, store = talk.kernel, talk.kernel.store
    key, row = endpoint(talk, "pod")
    before = generation(kernel)
    for table in (store.endpoints, store.ipcache, store.tunnels):
        table.delete([])
        table.upsert({})
        table.replace(dict(table.current))
    store.endpoints.upsert({key: row})
    store.ipcache.delete([IpcacheKey(*pack_network("192.0.2.0/24"))])
    store.policy_rows.delete_many([])
    store.policy_rows.update_many({})
    assert generation(kernel) == before


def test_a_write_that_fails_half_way_is_told(talk: Talk) -> None:
    bad = IpcacheKey(129, bytes(16))
    before = generation(talk.kernel)
    with pytest.raises(KernelError):
        talk.kernel.store.ipcache.upsert({bad: IpcacheInfo(1900)})
    assert generation(talk.kernel) > before


def test_a_new_process_begins_a_generation(talk: Talk) -> None:
    before = generation(talk.kernel)
    MapStore(talk.kernel.store.directory).close()
    assert generation(talk.kernel) > before


def test_packets_see_the_last_write(talk: Talk) -> None:
    """Each of these was kept by the packet before."""
    kernel, table = talk.kernel, talk.kernel.store.endpoints
    (pod, sender), (peer, receiver) = endpoint(talk, "pod"), endpoint(talk, "peer")
    for _ in range(3):
        assert talk.pod(udp()).verdict == REDIRECT
        table.delete([peer])
        assert talk.pod(udp()).verdict == OK, "somewhere behind the stack"
        table.upsert({peer: receiver})
        assert talk.pod(udp()).verdict == REDIRECT
        table.delete([pod])
        assert talk.pod(udp()).reasons == INVALID_SOURCE
        table.upsert({pod: sender})
    address = IpcacheKey(128, pack_address(talk.world["world"]))
    kernel.rows({RowKey(1, EGRESS): Row(cells=(Cell(0, 1, 0, 0),))})
    kernel.bits({(1900, 0): 1})
    kernel.enforce(POD, 1)
    for _ in range(3):
        assert talk.pod(udp(), "world").reasons == DENIED
        kernel.store.ipcache.upsert({address: IpcacheInfo(1900)})
        assert talk.pod(udp(), "world").verdict == OK
        kernel.store.ipcache.delete([address])


def test_verdicts_are_of_the_last_row(talk: Talk) -> None:
    kernel, proto = talk.kernel, 1 if talk.family == 4 else 58
    fields = {"proto" if talk.family == 4 else "nh": proto}
    kind = 13 if talk.family == 4 else 139  # opens nothing, so each is judged
    kernel.enforce(POD, 1)
    exact = RowKey(1, EGRESS, proto, kind, 16)
    wide = RowKey(1, EGRESS, proto)
    for changes, wanted in (
        ({RowKey(1, EGRESS): Row(any_allow=True)}, FORWARDED),
        ({wide: Row()}, DENIED),
        ({exact: Row(any_l7=True)}, NO_LISTENER),
        ({exact: Row(any_allow=True)}, FORWARDED),
        ({exact: None}, DENIED),
        ({wide: None}, FORWARDED),
        ({RowKey(1, EGRESS): None}, DENIED),
    ):
        kernel.rows(changes)
        for _ in range(2):
            packet = talk.pod(icmp_of(talk.family, kind), "world", **fields)
            assert packet.reasons == wanted, changes


def test_rows_of_other_ports_and_policies_are_not_taken_for_each_other(talk: Talk) -> None:
    """More of them than places where they are kept."""
    kernel = talk.kernel
    kernel.rows(
        {
            RowKey(policy, EGRESS, 17, port, 16): Row(any_allow=(policy + port) % 2 == 0)
            for policy in (1, 2)
            for port in range(1000, 1300)
        }
    )
    for revision, policy in enumerate((1, 2, 1), 1):
        kernel.enforce(POD, policy, revision)
        for port in range(1000, 1300, 7 if revision < 3 else 1):
            wanted = FORWARDED if (policy + port) % 2 == 0 else DENIED
            assert talk.pod(udp(5000 + revision, port)).reasons == wanted


def test_addresses_are_not_taken_for_each_other(talk: Talk) -> None:
    """Every second one is another's, and there are more than places where they are kept."""
    kernel, family = talk.kernel, talk.family
    base = int(ip_address("198.18.0.0" if family == 4 else "2001:db8:7::"))
    addresses = [type(ip_address(talk.world["pod"]))(base + n) for n in range(600)]
    kernel.store.ipcache.upsert(
        {IpcacheKey(*pack_network(str(a))): IpcacheInfo(1900) for a in addresses[::2]}
    )
    kernel.bits({(1900, 0): 1})
    kernel.rows({RowKey(1, EGRESS): Row(cells=(Cell(0, 1, 0, 0),))})
    kernel.enforce(POD, 1)
    for step in (11, 1):
        for number, address in list(enumerate(addresses))[::step]:
            packet = frame(family, talk.world["pod"], str(address), tcp(4000, 80, "S"))
            outcome = kernel.run("from_container", packet)
            assert outcome.reasons == (DENIED if number % 2 else FORWARDED)


@contextmanager
def dying(kernel) -> Iterator[None]:
    """Write what follows as an agent that ends before it tells the CPUs."""
    kept = (kernel.store.endpoints.kernel, kernel.store.policy_rows)
    told = [table.after_write for table in kept]
    for table in kept:
        table.after_write = None
    yield
    for table, tell in zip(kept, told, strict=True):
        table.after_write = tell


def test_what_nobody_told_holds_within_a_second(talk: Talk) -> None:
    kernel = talk.kernel
    kernel.rows(allow_all(1))
    kernel.enforce(POD, 1)
    assert talk.pod(udp()).reasons == FORWARDED
    with dying(kernel):
        kernel.rows({RowKey(1, EGRESS): Row()})
        kernel.enforce(POD, 1, 2)
    time.sleep(1.1)
    assert talk.pod(udp()).reasons == DENIED
    with dying(kernel):
        kernel.store.endpoints.delete([endpoint(talk, "pod")[0]])
    time.sleep(1.1)
    assert talk.pod(udp()).reasons == INVALID_SOURCE


def test_a_sender_is_only_believed_on_its_own_device(talk: Talk) -> None:
    """Which is not kept with the address, but compared each time."""
    kernel = talk.kernel
    assert talk.pod(udp()).verdict == REDIRECT
    packet = frame(talk.family, talk.world["pod"], talk.world["peer"], udp())
    outcome = kernel.run("from_container", packet, ifindex=kernel.peer_ifindex)
    assert outcome.reasons == INVALID_SOURCE
    stranger = frame(talk.family, talk.world["remote"], talk.world["peer"], udp())
    for _ in range(2):
        assert kernel.run("from_container", stranger).reasons == INVALID_SOURCE


def test_a_node_is_no_sender_and_its_place_is_kept(talk: Talk) -> None:
    kernel = talk.kernel
    assert talk.pod(udp(), "node").verdict == OK
    packet = frame(talk.family, talk.world["node"], talk.world["peer"], udp())
    assert kernel.run("from_container", packet).reasons == INVALID_SOURCE
