# SPDX-License-Identifier: Apache-2.0
"""What L7 rules say of one request, as the proxies do. Pure.

A request is allowed when one rule of its kind matches; a rule without fields matches every
request. What Envoy or the DNS and Kafka proxies do with the connection otherwise is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from cilium_core.policy.explain import Explanation
from cilium_core.policy.patterns import dns_name, expression, name_pattern
from cilium_core.policy.rules import L7Kind, Origin

_PRODUCE = ("produce", "metadata", "apiversions")
_CONSUME = (
    "fetch",
    "offsets",
    "metadata",
    "offsetcommit",
    "offsetfetch",
    "findcoordinator",
    "joingroup",
    "heartbeat",
    "leavegroup",
    "syncgroup",
    "apiversions",
)
_ROLES = {"produce": _PRODUCE, "consume": _CONSUME}
# Requests that name topics; a rule's topic says nothing of the others.
_WITH_TOPIC = frozenset(
    (
        *("produce", "fetch", "offsets", "metadata", "leaderandisr", "stopreplica"),
        *("updatemetadata", "offsetcommit", "offsetfetch", "createtopics", "deletetopics"),
        *("deleterecords", "offsetforleaderepoch", "addpartitionstotxn", "writetxnmarkers"),
        "txnoffsetcommit",
    )
)


class Request(NamedTuple):
    """One request. Fields are those of the rules of its kind, each a text or absent.

    HTTP: `method`, `path`, `host` and `headers` (names in small letters to values); DNS and SNI:
    `name`; Kafka: `apiKey` (small letters), `apiVersion`, `clientID`, `topic`.
    """

    kind: L7Kind
    fields: Mapping[str, Any]


class Answer(StrEnum):
    """What the client sees."""

    ALLOW = "allow"
    DENY = "deny"  # the connection is ended: not the protocol, or not the server name, of a rule
    HTTP_403 = "http-403"
    DNS_REFUSED = "dns-refused"
    KAFKA_DENY = "kafka-deny"


_REFUSALS = {
    L7Kind.HTTP: Answer.HTTP_403,
    L7Kind.DNS: Answer.DNS_REFUSED,
    L7Kind.KAFKA: Answer.KAFKA_DENY,
    L7Kind.SNI: Answer.DENY,
}


def answer(explanation: Explanation, request: Request | None) -> tuple[Answer, Origin]:
    """Judge a request for which the packet's verdict is L7, and name the rule that decides.

    A plain allow rule beside the L7 rules lets every request pass. Without a request the question
    is the connection alone, which the proxy takes. FieldError for an expression of RE2's own.
    """
    entries = explanation.entries
    if explanation.allows:
        return Answer.ALLOW, explanation.allows[0].rule.origin
    if request is None:
        return Answer.ALLOW, entries[0].rule.origin
    of_kind = [
        rule for entry in entries if (rule := entry.rule).l7 and rule.l7.kind is request.kind
    ]
    for rule in of_kind:
        if rule.l7 and any(_matches(request, dict(fields)) for fields in rule.l7.rules):
            return Answer.ALLOW, rule.origin
    if of_kind:
        return _REFUSALS[request.kind], of_kind[0].origin
    return Answer.DENY, entries[0].rule.origin


def _matches(request: Request, rule: Mapping[str, Any]) -> bool:
    match request.kind:
        case L7Kind.HTTP:
            return _http(request.fields, rule)
        case L7Kind.KAFKA:
            return _kafka(request.fields, rule)
        case _:
            return _name(request.fields.get("name"), rule)


def _http(request: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    for name in ("method", "path", "host"):
        value = request.get(name)
        if name in rule and (value is None or not expression(rule[name]).fullmatch(value)):
            return False
    headers: Mapping[str, str] = request.get("headers") or {}
    return all(_header(headers, *_split(text)) for text in rule.get("headers", ())) and all(
        _header_match(headers, dict(wanted)) for wanted in rule.get("headerMatches", ())
    )


def _split(text: str) -> tuple[str, str | None]:
    """Take `Name`, `Name value` or `Name: value` apart."""
    name, blank, value = text.partition(" ")
    return name.removesuffix(":"), value if blank else None


def _header(headers: Mapping[str, str], name: str, value: str | None) -> bool:
    held = headers.get(name.lower())
    return held is not None and value in (None, held)


def _header_match(headers: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    """A mismatch that asks for an action refuses nothing; a secret's value is not known here."""
    if "mismatch" in wanted:
        return True
    value = wanted.get("value") or None
    if value is None and "secret" in wanted:
        return False
    return _header(headers, wanted["name"], value)


def _kafka(request: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    key = request.get("apiKey")
    if "role" in rule and key not in _ROLES[rule["role"]]:
        return False
    for name in ("apiKey", "apiVersion", "clientID"):
        if name in rule and rule[name] != request.get(name):
            return False
    return "topic" not in rule or key not in _WITH_TOPIC or rule["topic"] == request.get("topic")


def _name(name: str | None, rule: Mapping[str, Any]) -> bool:
    if name is None:
        return not rule
    patterns = [rule[field] for field in ("matchPattern", "name") if field in rule]
    if "matchName" in rule and rule["matchName"] == dns_name(name):
        return True
    return not rule or any(name_pattern(found).fullmatch(dns_name(name)) for found in patterns)
