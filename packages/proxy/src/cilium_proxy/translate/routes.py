# SPDX-License-Identifier: Apache-2.0
"""The HTTP rules of a rule set as one matcher tree. Pure.

Order: rules that change headers, as a list (a rule that only allows must not hide them); exact
paths, in a map, then the method in another; rules without a path; prefixes and expressions, as a
list. Nothing matched is a 403, or passes where the rule set lets everything pass.

Envoy resolves `.` and `..` before it matches and sends the resolved path on, but leaves escaped
slashes as they are: `%2F` means something to many servers. Servers that decode them, or that cut
`;…` off a segment, could still be led out of an allowed prefix by `/public/..%2fadmin`, so such a
path matches no prefix and no expression.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as components
from envoy.config.route.v3 import route_pb2

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate import headers, naming
from cilium_proxy.translate.expressions import Expression, read
from cilium_proxy.translate.messages import duration, yes
from cilium_proxy.translate.predicates import (
    Matcher,
    OnMatch,
    Predicate,
    action,
    every,
    first_of,
    header,
    lookup,
    matches,
    negated,
    then,
)

BODY = "Access denied\r\n"
_SLASH = r"(?:/|\\|%2f|%5c)"
ESCAPES = Expression(regex=rf"(?i)[^?#]*{_SLASH}(?:\.|%2e){{1,2}}(?:{_SLASH}|;|%3b|[?#].*|$).*")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule, or one variant of it, taken apart."""

    path: Expression
    method: Expression
    others: tuple[Predicate, ...]
    change: headers.Change


def route_configuration(rule_set: pb.RuleSet) -> route_pb2.RouteConfiguration:
    """Return the routes of a rule set. RuleError when one of its rules cannot be put in force."""
    host = components.VirtualHost(name="all", domains=["*"], matcher=matcher(rule_set))
    name = naming.resource(rule_set.port)
    return route_pb2.RouteConfiguration(
        name=name, virtual_hosts=[host], validate_clusters=yes(False)
    )


def matcher(rule_set: pb.RuleSet) -> Matcher:
    """Return the tree that decides what becomes of a request."""
    allow = _allow(headers.Change())
    last = allow if rule_set.everything else _deny()
    rules: list[_Rule] = []
    for index, rule in enumerate(rule_set.rules):
        rules += _read(f"rule {index} of {rule_set.name}", rule)
    changing = [rule for rule in rules if rule.change]
    plain = [rule for rule in rules if not rule.change]
    if not changing and (rule_set.everything or any(map(_matches_all, plain))):
        return _always(allow)
    tree = _by_expression(plain, allow, last)
    tree = _chain(_by_method([rule for rule in plain if rule.path.anything], allow), tree)
    tree = _chain(_by_path([rule for rule in plain if rule.path.exact], allow), tree)
    if changing:
        entries = [(_predicate(rule), _allow(rule.change)) for rule in changing]
        tree = first_of(entries, then(tree))
    return tree


def _read(where: str, rule: pb.Rule) -> list[_Rule]:
    if rule.WhichOneof("of") is None:
        return [_Rule(Expression(), Expression(), (), headers.Change())]
    if rule.WhichOneof("of") != "http":
        raise RuleError(where, "is not a rule for HTTP")
    http = rule.http
    path, method = read(f"{where}: path", http.path), read(f"{where}: method", http.method)
    host = read(f"{where}: host", http.host)
    others = [] if host.anything else [matches(header(":authority"), host)]
    others += headers.conditions(http)
    variants = list(headers.changes(where, http))
    if headers.unknowable(http):
        return []
    return [_Rule(path, method, (*others, *more), change) for more, change in variants]


def _matches_all(rule: _Rule) -> bool:
    return rule.path.anything and rule.method.anything and not rule.others


def _by_path(rules: Sequence[_Rule], allow: OnMatch) -> Matcher | None:
    found: dict[str, list[_Rule]] = defaultdict(list)
    for rule in rules:
        for path in rule.path.exact:
            found[path].append(rule)
    entries = {}
    for path, here in found.items():
        unconditional = any(rule.method.anything and not rule.others for rule in here)
        below = None if unconditional else _by_method(here, allow)
        entries[path] = then(below) if below else allow
    return lookup(header(":path"), entries, None) if entries else None


def _by_method(rules: Sequence[_Rule], allow: OnMatch) -> Matcher | None:
    """Return what rules say beyond their paths, None for no rules."""
    methods = sorted({m for rule in rules if not rule.others for m in rule.method.exact})
    rest = [rule for rule in rules if rule.others or not rule.method.exact]
    listed = None
    if rest:
        entries = [(every(_beyond_path(rule) or [_anything()]), allow) for rule in rest]
        listed = first_of(entries, None)
    if not methods:
        return listed
    outcomes = {method: allow for method in methods}
    return lookup(header(":method"), outcomes, then(listed) if listed else None)


def _by_expression(rules: Sequence[_Rule], allow: OnMatch, last: OnMatch) -> Matcher:
    wanted = [rule for rule in rules if rule.path.prefix or rule.path.regex]
    if not wanted:
        return _always(last)
    guard = (matches(header(":path"), ESCAPES), last)
    entries = [
        (every([matches(header(":path"), rule.path), *_beyond_path(rule)]), allow)
        for rule in wanted
    ]
    return first_of([guard, *entries], last)


def _predicate(rule: _Rule) -> Predicate:
    found = _beyond_path(rule)
    if rule.path.prefix or rule.path.regex:
        found.append(negated(matches(header(":path"), ESCAPES)))
    if not rule.path.anything:
        found.insert(0, matches(header(":path"), rule.path))
    return every(found or [_anything()])


def _beyond_path(rule: _Rule) -> list[Predicate]:
    method = [] if rule.method.anything else [matches(header(":method"), rule.method)]
    return [*method, *rule.others]


def _anything() -> Predicate:
    return matches(header(":method"), Expression(regex=".*"))


def _always(outcome: OnMatch) -> Matcher:
    """Return a matcher without a question; Envoy wants at least one entry to be there."""
    return first_of([(_anything(), outcome)], outcome)


def _chain(first: Matcher | None, second: Matcher) -> Matcher:
    """Ask `second` where `first` finds nothing, at whatever depth."""
    if first is None:
        return second
    _otherwise(first, then(second))
    return first


def _otherwise(tree: Matcher, outcome: OnMatch) -> None:
    if tree.on_no_match.HasField("matcher"):
        _otherwise(tree.on_no_match.matcher, outcome)
    else:
        tree.on_no_match.CopyFrom(outcome)


def _allow(change: headers.Change) -> OnMatch:
    route = components.Route(
        name=naming.ALLOWED,
        match=components.RouteMatch(prefix=""),
        route=components.RouteAction(cluster=naming.HTTP_CLUSTER, timeout=duration(0)),
        request_headers_to_add=change.add,
        request_headers_to_remove=change.remove,
    )
    return action("route", route)


def _deny() -> OnMatch:
    answer = components.DirectResponseAction(
        status=403, body=base_pb2.DataSource(inline_string=BODY)
    )
    route = components.Route(
        name=naming.DENIED, match=components.RouteMatch(prefix=""), direct_response=answer
    )
    return action("route", route)
