# SPDX-License-Identifier: Apache-2.0
"""The label of named ports, and the peers that have a port of a name and number."""

import pytest

from cilium_core.policy import named_ports
from cilium_core.policy.peers import PeerPorts
from cilium_core.policy.rules import Operator, PeerSet, Protocol, Requirement, Selector


def test_the_label_is_read_as_it_is_written():
    text = "dns=53/TCP,dns=53/UDP,http=8080/TCP"
    assert named_ports.parse(text) == {
        "dns": frozenset({(6, 53), (17, 53)}),
        "http": frozenset({(6, 8080)}),
    }
    assert named_ports.render(named_ports.parse(text)) == text
    assert named_ports.render({}) == ""


@pytest.mark.parametrize(
    "part", ["", "http", "http=80", "=80/TCP", "http=x/TCP", "http=80/ICMP", "http=65536/TCP"]
)
def test_parts_that_are_no_port_are_left_out(part):
    assert named_ports.parse(f"{part},web=1/SCTP") == {"web": frozenset({(132, 1)})}


def test_only_peers_whose_port_has_the_name_are_meant():
    app = Selector((Requirement("k8s:app", Operator.IN, ("a",)),))
    narrowed = named_ports.having(PeerSet(frozenset({app})), "http", Protocol.TCP, 80)
    anyone = named_ports.having(None, "http", Protocol.TCP, 80)
    for text, found in (("http=80/TCP", True), ("http=81/TCP,x=80/TCP", False), ("", False)):
        labels = named_ports.expand({"k8s:app": "a", named_ports.LABEL: text})
        assert narrowed.matches(labels) == found
        assert anyone.matches(labels) == found
        assert not narrowed.matches({**labels, "k8s:app": "b"})


def test_numbers_of_names_come_and_go_with_the_identities_that_have_them():
    ports = PeerPorts()
    one = {named_ports.LABEL: "http=80/TCP"}
    two = {named_ports.LABEL: "dns=53/UDP,http=80/TCP"}
    assert ports.count(one, 1) == {"http"}
    assert ports.count(two, 1) == {"dns"}
    assert ports.count({}, 1) == set()
    assert ports.get(["http", "dns", "none"]) == {
        "http": frozenset({(6, 80)}),
        "dns": frozenset({(17, 53)}),
    }
    assert ports.count(one, -1) == set()
    assert ports.count(two, -1) == {"dns", "http"}
    assert ports.get(["http", "dns"]) == {}
