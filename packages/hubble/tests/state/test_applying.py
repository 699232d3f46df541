# SPDX-License-Identifier: Apache-2.0
"""Updates into the directory: every kind of object, snapshots in pieces, where to resume."""

from __future__ import annotations

from typing import Any

import pytest

from cilium_core.addresses import pack_address
from cilium_core.proto import nodestate_pb2 as pb
from cilium_hubble.state.applying import Applier
from cilium_hubble.state.directory import Directory, Endpoint, Frontend, Peer
from cilium_hubble.state.model import Node, Origin, ServiceName, Workload
from cilium_hubble.state.rules import Decision

OBJECTS = {
    "endpoint": pb.Endpoint(
        id=7,
        namespace="shop",
        pod="web-1",
        identity=1001,
        labels=["k8s:a=b"],
        addresses=["10.0.0.10", "fd00::10"],
        workload=pb.Workload(kind="Deployment", name="web"),
    ),
    "identity": pb.Identity(id=1001, labels=["k8s:a=b"]),
    "prefix": pb.Prefix(prefix="10.0.1.0/24", identity=77),
    "service": pb.Service(
        id=4,
        namespace="ns",
        name="svc",
        frontends=[pb.Frontend(address="10.96.0.1", port=80, protocol=6)],
    ),
    "cluster_node": pb.ClusterNode(name="other", address="172.30.0.12"),
    "policy": pb.Policy(
        number=3,
        revision=5,
        rules=[
            pb.Rule(
                direction=1,
                ports=[pb.Ports(protocol=6, first=80, last=80)],
                peers=[pb.PeerBits(word=1, mask=4)],
                origin=pb.Origin(kind="NetworkPolicy", namespace="ns", name="p"),
            ),
            pb.Rule(direction=2, deny=True, any_peer=True, origin=pb.Origin(name="q")),
        ],
    ),
}
INGRESS = Decision(3, 5, 1, 6, 80, 1, 4, False)
EGRESS = Decision(3, 5, 2, 17, 1, 0, 0, True)


def update(kind: int, revision: int, *names: str, epoch: str = "e", removed: bool = False) -> Any:
    changes = [pb.Change(removed=removed, **{name: OBJECTS[name]}) for name in names]
    return pb.Update(epoch=epoch, revision=revision, kind=kind, changes=changes)


def held(known: Directory) -> set[str]:
    found = {
        "cluster_node": bool(known.cluster.addresses),
        "endpoint": bool(known.endpoints),
        "identity": bool(known.identities),
        "prefix": bool(known.prefixes),
        "service": bool(known.services),
        "policy": bool(known.rules.deciders(INGRESS)),
    }
    return {name for name, there in found.items() if there}


def test_what_each_object_becomes() -> None:
    known = Directory()
    applier = Applier(known)
    applier.apply(update(pb.Update.SNAPSHOT_END, 9, *OBJECTS))
    addresses = (pack_address("10.0.0.10"), pack_address("fd00::10"))
    web = Workload("Deployment", "web")
    assert known.endpoints == {7: Endpoint(7, "shop", "web-1", 1001, ("k8s:a=b",), addresses, web)}
    assert known.identities == {1001: ("k8s:a=b",)}
    assert known.prefixes == {"10.0.1.0/24": Peer(77)}
    assert known.cluster.addresses == {"other": "172.30.0.12"}
    front = Frontend(pack_address("10.96.0.1"), 80, 6)
    assert known.services == {4: (ServiceName("ns", "svc"), (front,))}
    assert known.rules.deciders(INGRESS) == (Origin("NetworkPolicy", "ns", "p"),)
    assert known.rules.deciders(EGRESS) == (Origin("", "", "q"),)
    node = pb.Node(name="worker", cluster="c1", labels=["a=b"])
    applier.apply(pb.Update(epoch="e", revision=10, changes=[pb.Change(node=node)]))
    assert known.node == Node("worker", "c1", ("a=b",))
    assert known.node.full_name == "c1/worker"


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_each_can_be_removed(name: str) -> None:
    known = Directory()
    applier = Applier(known)
    applier.apply(update(pb.Update.SNAPSHOT_END, 1, *OBJECTS))
    applier.apply(update(pb.Update.DELTA, 2, name, removed=True))
    assert held(known) == set(OBJECTS) - {name}
    applier.apply(update(pb.Update.DELTA, 3, name, removed=True))
    assert (applier.epoch, applier.revision) == ("e", 3)


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_a_snapshot_removes_what_no_piece_named(name: str) -> None:
    known = Directory()
    applier = Applier(known)
    applier.apply(update(pb.Update.SNAPSHOT_END, 1, *OBJECTS))
    left = sorted(set(OBJECTS) - {name})
    applier.begin()
    applier.apply(update(pb.Update.SNAPSHOT, 5, *left[:2], epoch="new"))
    assert held(known) == set(OBJECTS)
    assert (applier.epoch, applier.revision) == ("e", 1)
    applier.apply(update(pb.Update.SNAPSHOT_END, 5, *left[2:], epoch="new"))
    assert held(known) == set(left)
    assert (applier.epoch, applier.revision) == ("new", 5)


def test_a_snapshot_that_broke_off_removes_nothing_and_counts_for_nothing() -> None:
    known = Directory()
    applier = Applier(known)
    assert applier.begin() == pb.WatchRequest()
    assert not applier.synced.is_set()
    applier.apply(update(pb.Update.SNAPSHOT_END, 1, *OBJECTS))
    applier.apply(update(pb.Update.SNAPSHOT, 7, "identity"))
    assert applier.begin() == pb.WatchRequest(epoch="e", revision=1)
    applier.apply(update(pb.Update.DELTA, 2, "prefix", removed=True))
    assert held(known) == set(OBJECTS) - {"prefix"}
    assert applier.synced.is_set()


def test_an_object_of_a_newer_agent_is_passed_over() -> None:
    applier = Applier(Directory())
    applier.apply(pb.Update(epoch="e", revision=3, changes=[pb.Change()]))
    applier.apply(pb.Update(epoch="e", revision=4, changes=[pb.Change(removed=True)]))
    assert applier.revision == 4
