# SPDX-License-Identifier: Apache-2.0
"""Server names: one filter chain for each, chosen by the TLS client's first message. Pure.

A chain for each name, so that removing a name ends the connections that it let in and no others.
Names are compared as the policy engine does: `*` stays within a label, `**.` takes several.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf import wrappers_pb2

from cilium_core.policy.patterns import dns_name, name_pattern
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate import access_log, naming
from cilium_proxy.translate.expressions import Expression
from cilium_proxy.translate.messages import duration, extension
from cilium_proxy.translate.predicates import (
    Matcher,
    OnMatch,
    action,
    first_of,
    lookup,
    matches,
    server_name,
    then,
)

ALL = "everything"


def names(rule_set: pb.RuleSet) -> list[str]:
    """Return the names that the rules allow, in small letters, each once."""
    return sorted(set(_names(rule_set)))


def passes_all(rule_set: pb.RuleSet) -> bool:
    """Say whether every connection may pass, TLS or not."""
    return rule_set.everything or any(rule.WhichOneof("of") is None for rule in rule_set.rules)


def chains(rule_set: pb.RuleSet) -> list[components.FilterChain]:
    """Return a chain for each name."""
    return [_chain(rule_set, name, naming.TCP_CLUSTER) for name in names(rule_set)]


def last_chain(rule_set: pb.RuleSet) -> components.FilterChain:
    """Return the chain for what no name lets in: closed, unless everything passes."""
    if passes_all(rule_set):
        return _chain(rule_set, ALL, naming.TCP_CLUSTER)
    return _chain(rule_set, naming.REFUSED, naming.NOWHERE_CLUSTER)


def matcher(rule_set: pb.RuleSet) -> Matcher | None:
    """Return what picks the chain: whole names in a map, patterns in a list; None without names."""
    exact: dict[str, OnMatch] = {}
    patterns = []
    for name in names(rule_set):
        outcome = _pick(rule_set.port, name)
        if "*" not in name:
            exact[name] = outcome
        else:
            wanted = ".+" if name == "*" else name_pattern(name).pattern
            patterns.append((matches(server_name(), Expression(regex=wanted)), outcome))
    listed = first_of(patterns, None) if patterns else None
    if exact:
        return lookup(server_name(), exact, then(listed) if listed else None)
    return listed


def _names(rule_set: pb.RuleSet) -> Iterator[str]:
    for index, rule in enumerate(rule_set.rules):
        kind = rule.WhichOneof("of")
        if kind == "server_name":
            yield dns_name(rule.server_name)
        elif kind is not None:
            raise RuleError(f"rule {index} of {rule_set.name}", "is not a server name")


def _chain(rule_set: pb.RuleSet, detail: str, cluster: str) -> components.FilterChain:
    proxy = tcp_proxy_pb2.TcpProxy(
        stat_prefix=rule_set.name or naming.resource(rule_set.port),
        cluster=cluster,
        idle_timeout=duration(0),  # keep-alive ends those whose other end is gone
        access_log=access_log.tcp(),
        access_log_options=tcp_proxy_pb2.TcpProxy.TcpAccessLogOptions(
            flush_access_log_on_connected=True
        ),
    )
    return components.FilterChain(
        name=naming.chain(rule_set.port, detail),
        filters=[components.Filter(**extension("envoy.filters.network.tcp_proxy", proxy))],
    )


def _pick(port: int, detail: str) -> OnMatch:
    return action("chain", wrappers_pb2.StringValue(value=naming.chain(port, detail)))
