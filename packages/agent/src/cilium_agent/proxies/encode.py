# SPDX-License-Identifier: Apache-2.0
"""Rule sets as messages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cilium_agent.proxies.rulesets import Held
from cilium_core.policy.redirects import RuleSet
from cilium_core.policy.rules import L7Kind
from cilium_core.proto import proxy_pb2 as pb

Fields = Iterable[tuple[str, object]]

KINDS = {
    L7Kind.HTTP: pb.HTTP,
    L7Kind.DNS: pb.DNS,
    L7Kind.KAFKA: pb.KAFKA,
    L7Kind.SNI: pb.SNI,
}


def rule_set(held: Held) -> pb.RuleSet:
    """Return a rule set as it is to be put in force."""
    rules = held.rules
    assert rules.kind is not None
    patterns = {fields for rule in rules.rules if rule.l7 for fields in rule.l7.rules}
    return pb.RuleSet(
        port=held.port,
        revision=held.revision,
        name=name_of(rules),
        direction=int(rules.direction),
        kind=KINDS[rules.kind],
        rules=[_RULES[rules.kind](dict(fields)) for fields in sorted(patterns, key=repr)],
        everything=rules.everything,
        origins=sorted({str(rule.origin) for rule in rules.rules}),
    )


def name_of(rules: RuleSet) -> str:
    """Return the name of a rule set, the same in any process."""
    return f"{rules.kind}-{rules.direction.name.lower()}-{rules.digest.hex()[:16]}"


def removal(held: Held) -> pb.RuleSet:
    """Return the message that a rule set has no more connections led to it."""
    return pb.RuleSet(port=held.port, revision=held.revision, removed=True)


def _http(rule: dict[str, Any]) -> pb.Rule:
    matches = [_header(dict(fields)) for fields in rule.get("headerMatches", ())]
    return pb.Rule(
        http=pb.HttpRule(
            method=rule.get("method", ""),
            path=rule.get("path", ""),
            host=rule.get("host", ""),
            headers=rule.get("headers", ()),
            header_matches=matches,
        )
    )


def _header(fields: dict[str, Any]) -> pb.HeaderMatch:
    secret = dict(fields.get("secret", ()))
    parts = (secret.get("namespace", ""), secret.get("name", ""))
    return pb.HeaderMatch(
        name=fields.get("name", ""),
        value=fields.get("value", ""),
        mismatch=fields.get("mismatch", ""),
        secret="/".join(part for part in parts if part),
    )


def _dns(rule: dict[str, Any]) -> pb.Rule:
    name, pattern = rule.get("matchName", ""), rule.get("matchPattern", "")
    return pb.Rule(dns=pb.DnsRule(match_name=name, match_pattern=pattern))


def _kafka(rule: dict[str, Any]) -> pb.Rule:
    return pb.Rule(
        kafka=pb.KafkaRule(
            role=rule.get("role", ""),
            api_key=rule.get("apiKey", ""),
            api_version=rule.get("apiVersion", ""),
            client_id=rule.get("clientID", ""),
            topic=rule.get("topic", ""),
        )
    )


def _sni(rule: dict[str, Any]) -> pb.Rule:
    # Without fields every name passes.
    return pb.Rule(server_name=rule.get("name", "**"))


_RULES: dict[L7Kind, Callable[[dict[str, Any]], pb.Rule]] = {
    L7Kind.HTTP: _http,
    L7Kind.DNS: _dns,
    L7Kind.KAFKA: _kafka,
    L7Kind.SNI: _sni,
}
