# SPDX-License-Identifier: Apache-2.0
"""HTTP rules judged one by one with the policy engine's own eyes, a reader of Envoy's matcher
trees, and random rules and requests for both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import re2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from hypothesis import strategies as st
from proxy_fakes import http

from cilium_core.policy import requests
from cilium_core.proto import proxy_pb2 as pb

_LED_OUT = re.compile(r"(/|\\|%2f|%5c)(\.|%2e){1,2}(/|\\|%2f|%5c|;|%3b|\?|#|$)", re.IGNORECASE)


class Request(NamedTuple):
    method: str
    path: str
    host: str
    headers: Mapping[str, str]


class Outcome(NamedTuple):
    allowed: bool
    headers: Mapping[str, str]


def judge(rule_set: pb.RuleSet, request: Request) -> Outcome:
    """Say what becomes of a request: the first rule that changes headers, else any that allows."""
    rules = [rule.http for rule in rule_set.rules if _applies(rule.http, request)]
    for rule in rules:
        changed = _change(rule, request.headers)
        if changed != request.headers:
            return Outcome(True, changed)
    return Outcome(bool(rules) or rule_set.everything, request.headers)


def _applies(rule: pb.HttpRule, request: Request) -> bool:
    fields = {name: getattr(rule, name) for name in ("method", "path", "host")}
    wanted: dict[str, Any] = {name: text for name, text in fields.items() if text}
    wanted["headers"] = tuple(rule.headers)
    matches = [
        {"name": m.name, "value": m.value, "mismatch": m.mismatch} for m in rule.header_matches
    ]
    wanted["headerMatches"] = [tuple((k, v) for k, v in m.items() if v) for m in matches]
    if not requests._http(request._asdict(), wanted):
        return False
    before_query = re.split(r"[?#]", request.path)[0]
    plain = not rule.path or rule.path == ".*" or not _several(rule.path)
    return plain or not _LED_OUT.search(before_query)


def _several(expression: str) -> bool:
    """Say whether an expression of these tests matches more than a few certain texts."""
    return bool(re.search(r"[\[*+]|(?<!\\)\.", expression))


def _change(rule: pb.HttpRule, headers: Mapping[str, str]) -> Mapping[str, str]:
    found = dict(headers)
    for match in rule.header_matches:
        name, held = match.name.lower(), headers.get(match.name.lower())
        if not match.value or held == match.value:
            continue
        if match.mismatch == "REPLACE":
            found[name] = match.value
        elif match.mismatch == "ADD":
            found[name] = match.value if held is None else f"{held},{match.value}"
        elif match.mismatch == "DELETE":
            found.pop(name, None)
    return found


def read(matcher: Any, request: Request) -> Outcome | None:
    """Do what Envoy does with a matcher: a nested one that finds nothing is no match."""
    for outcome in _matching(matcher, request):
        found = _follow(outcome, request)
        if found is not None:
            return found
    return _follow(matcher.on_no_match, request)


def _matching(matcher: Any, request: Request):
    if matcher.WhichOneof("matcher_type") == "matcher_list":
        for entry in matcher.matcher_list.matchers:
            if _holds(entry.predicate, request):
                yield entry.on_match
    else:
        value = _input(matcher.matcher_tree.input, request)
        table = matcher.matcher_tree.exact_match_map.map
        if value is not None and value in table:
            yield table[value]


def _follow(outcome: Any, request: Request) -> Outcome | None:
    kind = outcome.WhichOneof("on_match")
    if kind is None:
        return None
    if kind == "matcher":
        return read(outcome.matcher, request)
    route = route_components_pb2.Route()
    assert outcome.action.typed_config.Unpack(route)
    if route.HasField("direct_response"):
        return Outcome(False, request.headers)
    headers = dict(request.headers)
    for name in route.request_headers_to_remove:
        headers.pop(name.lower(), None)
    for option in route.request_headers_to_add:
        name, value = option.header.key.lower(), option.header.value.replace("%%", "%")
        append = option.append_action == option.APPEND_IF_EXISTS_OR_ADD and name in headers
        headers[name] = f"{headers[name]},{value}" if append else value
    return Outcome(True, headers)


def _holds(predicate: Any, request: Request) -> bool:
    match predicate.WhichOneof("match_type"):
        case "and_matcher":
            return all(_holds(each, request) for each in predicate.and_matcher.predicate)
        case "or_matcher":
            return any(_holds(each, request) for each in predicate.or_matcher.predicate)
        case "not_matcher":
            return not _holds(predicate.not_matcher, request)
    value, wanted = _input(predicate.single_predicate.input, request), predicate.single_predicate
    if value is None:
        return False
    match wanted.value_match.WhichOneof("match_pattern"):
        case "exact":
            return value == wanted.value_match.exact
        case "prefix":
            return value.startswith(wanted.value_match.prefix)
    return re2.fullmatch(wanted.value_match.safe_regex.regex, value) is not None


def _input(source: Any, request: Request) -> str | None:
    message = http_inputs_pb2.HttpRequestHeaderMatchInput()
    assert source.typed_config.Unpack(message)
    known = {":path": request.path, ":method": request.method, ":authority": request.host}
    return known.get(message.header_name, request.headers.get(message.header_name))


PATHS = ["/", "/a", "/a/b", "/a/..%2fb", "/a/%2e%2e%5Cb", "/a/x..y", "/a%2fb", "/a.b", "/b?q=/../x"]
PATHS += ["/a/..;x/b", "/c/d/e"]
EXPRESSIONS = [
    "",
    ".*",
    "/a",
    "/a/.*",
    "/a/[^/]*",
    "/a|/b",
    "(/a|/c/d/e)",
    r"/a\.b",
    "/a.b",
    "^/a$",
]
EXPRESSIONS += ["/.*", "/a/?b?", "/b.*", "/a/..%2fb"]
METHODS = ["GET", "PUT", "POST", "DELETE"]
HOSTS = ["one", "two.example"]
VALUES = ["1", "2", "50%"]
NAMES = ["X-One", "x-two"]

requests_ = st.builds(
    Request,
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    st.sampled_from(HOSTS),
    st.dictionaries(st.sampled_from([n.lower() for n in NAMES]), st.sampled_from(VALUES)),
)
matches_ = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "value": st.sampled_from(["", *VALUES]),
        "mismatch": st.sampled_from(["", "LOG", "ADD", "DELETE", "REPLACE"]),
    }
)
header_texts = st.builds(
    lambda name, value: f"{name} {value}" if value else name,
    st.sampled_from(NAMES),
    st.sampled_from(["", *VALUES]),
)
rules_ = st.builds(
    lambda **fields: http(**fields),
    method=st.sampled_from(["", "GET", "GET|PUT", "P.*", "DELETE"]),
    path=st.sampled_from(EXPRESSIONS),
    host=st.sampled_from(["", "", "one", "t.*"]),
    headers=st.lists(header_texts, max_size=1),
    header_matches=st.lists(matches_, max_size=2, unique_by=lambda match: match["name"].lower()),
)
