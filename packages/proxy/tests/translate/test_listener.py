# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from proxy_fakes import http, rule_set

from cilium_core.marks import Mark
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate import sni
from cilium_proxy.translate.listener import listener
from cilium_proxy.translate.sockets import port_range


def names(*texts: str, **fields) -> pb.RuleSet:
    rules = [pb.Rule(server_name=text) for text in texts]
    return rule_set(10005, 1, rules, kind=pb.SNI, **fields)


def test_a_listener_is_on_both_loopback_addresses_and_transparent():
    made = listener(rule_set(10001))
    addresses = [made.address, *(more.address for more in made.additional_addresses)]
    found = [(a.socket_address.address, a.socket_address.port_value) for a in addresses]
    assert found == [("127.0.0.1", 10001), ("::1", 10001)]
    assert made.transparent.value


@pytest.mark.parametrize(("direction", "mark"), [(1, Mark.INGRESS_PROXY), (2, Mark.EGRESS_PROXY)])
def test_the_mark_is_that_of_the_leg(direction, mark):
    filters = {f.name: f for f in listener(rule_set(10001, direction=direction)).listener_filters}
    source = original_src_pb2.OriginalSrc()
    assert filters["envoy.filters.listener.original_src"].typed_config.Unpack(source)
    assert source.mark == mark


def test_rules_of_http_leave_the_listener_as_it_is():
    assert listener(rule_set(10001, 1, [http(path="/a")])) == listener(rule_set(10001, 2))


def test_nothing_that_streams_is_cut():
    chain = listener(rule_set(10001)).filter_chains[-1]
    manager = hcm.HttpConnectionManager()
    assert chain.filters[0].typed_config.Unpack(manager)
    assert manager.stream_idle_timeout.ToSeconds() == manager.request_timeout.ToSeconds() == 0
    assert manager.rds.route_config_name == "10001"
    assert manager.HasField("stream_idle_timeout")


@pytest.mark.parametrize(
    "made",
    [rule_set(10001, kind=pb.KAFKA), rule_set(10001, direction=3), names() and rule_set(1, kind=0)],
)
def test_what_envoy_does_not_serve_is_refused(made):
    with pytest.raises(RuleError, match=made.name):
        listener(made)


def test_rules_of_other_kinds_are_no_server_names():
    with pytest.raises(RuleError, match="rule 0 of set-10005: is not a server name"):
        listener(rule_set(10005, 1, [http(path="/a")], kind=pb.SNI))


def test_each_server_name_has_a_chain_and_the_rest_is_refused():
    made = listener(names("B.example.", "*.a.example", "b.example"))
    assert [chain.name for chain in made.filter_chains] == [
        "10005/closed",
        "10005/*.a.example",
        "10005/b.example",
    ]
    assert made.default_filter_chain.name == "10005/refused"
    assert not made.continue_on_listener_filters_timeout


def test_a_rule_without_a_name_lets_everything_pass_and_does_not_wait_for_a_name():
    made = listener(rule_set(10005, 1, [pb.Rule()], kind=pb.SNI))
    assert made.default_filter_chain.name == f"10005/{sni.ALL}"
    assert made.continue_on_listener_filters_timeout
    assert made.listener_filters_timeout.ToSeconds() == 1


def test_the_port_range_is_one_number_high_before_low():
    option = port_range((61000, 65535))
    assert (option.level, option.name) == (0, 51)
    assert option.int_value == 65535 << 16 | 61000
