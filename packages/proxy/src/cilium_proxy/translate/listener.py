# SPDX-License-Identifier: Apache-2.0
"""One transparent listener for each rule set, on 127.0.0.1 and ::1. Pure.

The kernel leads connections here with their own addresses kept. What somebody on the node connects
to the port itself has the listener as its destination: passed on, it would come back for ever, so
it is closed.
"""

from __future__ import annotations

from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.direct_response.v3 import config_pb2 as direct_response
from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from google.protobuf import wrappers_pb2

from cilium_core.marks import Mark
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate import http, naming, sni, sockets
from cilium_proxy.translate.messages import duration, extension, yes
from cilium_proxy.translate.predicates import (
    Input,
    Matcher,
    Predicate,
    action,
    destination_address,
    first_of,
    then,
)

INGRESS, EGRESS = 1, 2
_MARKS = {INGRESS: Mark.INGRESS_PROXY, EGRESS: Mark.EGRESS_PROXY}
_TRAFFIC = {INGRESS: "INBOUND", EGRESS: "OUTBOUND"}
_LOOPBACK = (("127.0.0.0", 8), ("::1", 128))
_CLOSED = "closed"
_SNIFF_SECONDS = 1.0


def listener(rule_set: pb.RuleSet, headers: tuple[str, ...] = ()) -> listener_pb2.Listener:
    """Return a rule set's listener. RuleError when it is of a kind that Envoy does not serve."""
    if rule_set.direction not in _MARKS:
        raise RuleError(rule_set.name, f"direction {rule_set.direction} is neither 1 nor 2")
    made = listener_pb2.Listener(
        name=naming.resource(rule_set.port),
        stat_prefix=naming.resource(rule_set.port),
        address=_address("127.0.0.1", rule_set.port),
        additional_addresses=[{"address": _address("::1", rule_set.port)}],
        transparent=yes(),
        traffic_direction=_TRAFFIC[rule_set.direction],
        socket_options=sockets.keepalive(),
        listener_filters=_listener_filters(_MARKS[rule_set.direction]),
    )
    if rule_set.kind == pb.HTTP:
        made.filter_chains.extend([_loopback_chain(rule_set), http.chain(rule_set, headers)])
    elif rule_set.kind == pb.SNI:
        _read_server_names(made, rule_set)
    else:
        raise RuleError(rule_set.name, f"kind {pb.Kind.Name(rule_set.kind)} is not Envoy's")
    return made


def _read_server_names(made: listener_pb2.Listener, rule_set: pb.RuleSet) -> None:
    closed = _loopback_chain(rule_set)
    closed.ClearField("filter_chain_match")  # the matcher has it: Envoy takes one or the other
    made.filter_chains.extend([closed, *sni.chains(rule_set)])
    made.default_filter_chain.CopyFrom(sni.last_chain(rule_set))
    made.filter_chain_matcher.CopyFrom(_matcher(rule_set, closed.name))
    inspector = extension("envoy.filters.listener.tls_inspector", tls_inspector_pb2.TlsInspector())
    made.listener_filters.append(components.ListenerFilter(**inspector))
    if sni.passes_all(rule_set):  # also what waits for the server to speak first
        made.listener_filters_timeout.CopyFrom(duration(_SNIFF_SECONDS))
        made.continue_on_listener_filters_timeout = True


def _matcher(rule_set: pb.RuleSet, closed: str) -> Matcher:
    ranges = [_range(*prefix) for prefix in _LOOPBACK]
    loopback = ip_pb2.Ip(cidr_ranges=ranges, stat_prefix="loopback")
    here = Predicate(
        single_predicate={
            "input": destination_address(),
            "custom_match": Input(**extension("ip", loopback)),
        }
    )
    names = sni.matcher(rule_set)
    return first_of(
        [(here, action("chain", wrappers_pb2.StringValue(value=closed)))],
        then(names) if names else None,
    )


def _listener_filters(mark: Mark) -> list[components.ListenerFilter]:
    source = original_src_pb2.OriginalSrc(mark=int(mark))
    destination = original_dst_pb2.OriginalDst()
    return [
        components.ListenerFilter(**extension("envoy.filters.listener.original_dst", destination)),
        components.ListenerFilter(**extension("envoy.filters.listener.original_src", source)),
    ]


def _loopback_chain(rule_set: pb.RuleSet) -> components.FilterChain:
    close = extension("envoy.filters.network.direct_response", direct_response.Config())
    return components.FilterChain(
        name=naming.chain(rule_set.port, _CLOSED),
        filter_chain_match={"prefix_ranges": [_range(*prefix) for prefix in _LOOPBACK]},
        filters=[components.Filter(**close)],
    )


def _range(address: str, length: int) -> address_pb2.CidrRange:
    return address_pb2.CidrRange(
        address_prefix=address, prefix_len=wrappers_pb2.UInt32Value(value=length)
    )


def _address(host: str, port: int) -> address_pb2.Address:
    return address_pb2.Address(socket_address={"address": host, "port_value": port})
