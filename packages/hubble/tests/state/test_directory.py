# SPDX-License-Identifier: Apache-2.0
"""Who was this? Local pods, remote pods, prefixes, the kernel's identity, owners that have gone."""

from __future__ import annotations

from hubble_fakes import DB_LABELS, WEB_LABELS, directory

from cilium_core.addresses import pack_address
from cilium_hubble.state.directory import REMEMBERED, Directory, Endpoint, Frontend, Peer
from cilium_hubble.state.labels import shown_labels
from cilium_hubble.state.model import Party, ServiceName, Workload

WEB, DB, REMOTE = (pack_address(text) for text in ("10.0.0.10", "10.0.0.11", "10.0.1.20"))


def test_a_local_pod_is_known_by_its_address() -> None:
    assert directory().party(WEB, 1001) == Party(
        7, 1001, "default", "shop", "web-1", WEB_LABELS, Workload("Deployment", "web")
    )
    assert directory().party(WEB, 0).identity == 1001


def test_a_remote_pod_is_known_by_its_prefix_and_its_labels_by_the_identity() -> None:
    party = directory().party(REMOTE, 1001)
    assert (party.endpoint_id, party.namespace, party.pod) == (0, "shop", "web-2")
    assert party.labels == WEB_LABELS


def test_the_longest_prefix_names_who_is_outside() -> None:
    known = directory()
    known.put_identity(1 << 24 | 5, ("cidr:10.9.0.0/16", "cidr:10.0.0.0/8", "reserved:world"))
    known.put_prefix("10.9.0.0/16", Peer(1 << 24 | 5))
    assert known.party(pack_address("10.9.1.1"), 0).labels == ("cidr:10.9.0.0/16", "reserved:world")
    assert known.party(pack_address("10.8.1.1"), 0).labels == ("reserved:world",)
    assert known.party(pack_address("2001:db8::1"), 0) == Party(cluster="default")


def test_the_kernels_identity_holds_against_the_directorys_name() -> None:
    """The address has another owner already, or the news of it is still on its way."""
    party = directory().party(WEB, 1002)
    assert party == Party(0, 1002, "default", "data", "", DB_LABELS)


def test_late_packets_of_a_pod_that_has_gone_keep_its_name() -> None:
    known = directory()
    known.remove_endpoint(7)
    assert known.party(WEB, 1001).pod == "web-1"
    known.put_endpoint(Endpoint(9, "data", "db-1", 1002, DB_LABELS, (WEB,)))
    assert known.party(WEB, 1002).pod == "db-1"
    assert known.party(WEB, 1001).pod == "web-1"
    assert known.party(WEB, 0).pod == "db-1"
    known.remove_endpoint(9)
    assert known.party(WEB, 1001) == Party(0, 1001, "default", "", "", WEB_LABELS)


def test_a_pod_that_changes_its_identity_keeps_its_name_in_late_packets() -> None:
    known = directory()
    known.put_endpoint(Endpoint(7, "shop", "web-1", 1009, ("k8s:app=web",), (WEB,)))
    assert known.party(WEB, 1009).pod == known.party(WEB, 1001).pod == "web-1"


def test_remote_pods_that_have_gone_are_remembered_too() -> None:
    known = directory()
    known.remove_prefix("10.0.1.20/32")
    assert known.party(REMOTE, 1001).pod == "web-2"
    assert known.party(REMOTE, 0).pod == ""  # whoever has it now
    known.put_prefix("10.0.1.20/32", Peer(1002, "data", "db-7"))
    assert known.party(REMOTE, 1002).pod == "db-7"
    assert known.party(REMOTE, 1001).pod == "web-2"


def test_only_so_many_are_remembered_and_caches_hear_of_it() -> None:
    known, told = Directory(), []
    known.on_change(lambda address, identity: told.append((address, identity)))
    first = pack_address("10.1.0.0")
    for number in range(REMEMBERED + 1):
        address = (int.from_bytes(first, "big") + number).to_bytes(16, "big")
        known.put_endpoint(Endpoint(1, "a", f"pod-{number}", 300, (), (address,)))
        known.remove_endpoint(1)
    assert known.party(first, 300).pod == ""
    assert told.count((first, None)) == 3


def test_services_by_number_and_by_frontend() -> None:
    known = directory()
    front = Frontend(pack_address("10.96.0.10"), 5432, 6)
    assert known.frontends[front] == ServiceName("data", "db")
    known.put_service(1, ServiceName("data", "db"), (front._replace(port=5433),))
    assert front not in known.frontends
    assert known.service_addresses[front.address] == 1
    known.remove_service(1)
    assert not known.frontends
    assert not known.service_addresses


def test_labels_are_sorted_and_only_the_longest_cidr_is_shown() -> None:
    assert shown_labels(["b", "a"]) == ("a", "b")
    labels = ["cidr:0.0.0.0/0=", "reserved:world", "cidr:1.2.3.0/24=", "cidr:1.2.3.4/32="]
    assert shown_labels(labels) == ("cidr:1.2.3.4/32=", "reserved:world")
