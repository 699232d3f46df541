# SPDX-License-Identifier: Apache-2.0
"""Envoy's matcher trees in small pieces: inputs, predicates, lists, maps, actions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2, string_pb2

from cilium_proxy.translate.expressions import Expression
from cilium_proxy.translate.messages import packed

Matcher: TypeAlias = matcher_pb2.Matcher
OnMatch: TypeAlias = matcher_pb2.Matcher.OnMatch
Predicate: TypeAlias = matcher_pb2.Matcher.MatcherList.Predicate
Input: TypeAlias = extension_pb2.TypedExtensionConfig

_LIST = matcher_pb2.Matcher.MatcherList
_TREE = matcher_pb2.Matcher.MatcherTree
ANY_TEXT = Expression(regex=".*")  # for a header: it is there


@lru_cache(maxsize=4096)
def header(name: str) -> Input:
    """Return a request header as an input, several values joined by commas.

    Inputs are shared, as a message that becomes part of another one is copied: do not change them.
    """
    lower = name.lower()
    message = http_inputs_pb2.HttpRequestHeaderMatchInput(
        header_name=":authority" if lower == "host" else lower
    )
    return Input(name="header", typed_config=packed(message))


@lru_cache(maxsize=1)
def server_name() -> Input:
    """Return the name that a TLS client asks for, in small letters, as an input."""
    return Input(name="sni", typed_config=packed(network_inputs_pb2.ServerNameInput()))


def destination_address() -> Input:
    """Return the address that the client meant to reach as an input."""
    return Input(name="address", typed_config=packed(network_inputs_pb2.DestinationIPInput()))


def matches(source: Input, wanted: Expression) -> Predicate:
    """Return the predicate of an expression. It must not be `anything`."""
    values = [string_pb2.StringMatcher(exact=text) for text in wanted.exact]
    if wanted.prefix:
        values.append(string_pb2.StringMatcher(prefix=wanted.prefix))
    if wanted.regex:
        values.append(
            string_pb2.StringMatcher(safe_regex={"google_re2": {}, "regex": wanted.regex})
        )
    single = [
        Predicate(single_predicate=_LIST.Predicate.SinglePredicate(input=source, value_match=value))
        for value in values
    ]
    return single[0] if len(single) == 1 else Predicate(or_matcher={"predicate": single})


def negated(predicate: Predicate) -> Predicate:
    """Return the opposite."""
    return Predicate(not_matcher=predicate)


def every(predicates: Sequence[Predicate]) -> Predicate:
    """Return the conjunction of one or more."""
    if len(predicates) == 1:
        return predicates[0]
    return Predicate(and_matcher={"predicate": predicates})


def action(name: str, message: Message) -> OnMatch:
    """Return a match's outcome."""
    return OnMatch(action=Input(name=name, typed_config=packed(message)))


def then(matcher: Matcher) -> OnMatch:
    """Return an outcome that another matcher decides."""
    return OnMatch(matcher=matcher)


def first_of(entries: Sequence[tuple[Predicate, OnMatch]], otherwise: OnMatch | None) -> Matcher:
    """Return a list that is tried from its beginning."""
    fields = [
        _LIST.FieldMatcher(predicate=predicate, on_match=outcome) for predicate, outcome in entries
    ]
    return Matcher(matcher_list=_LIST(matchers=fields), on_no_match=otherwise)


def lookup(source: Input, entries: Mapping[str, OnMatch], otherwise: OnMatch | None) -> Matcher:
    """Return a map from whole texts; its cost does not grow with its size."""
    table = _TREE.MatchMap(map=entries)
    return Matcher(matcher_tree=_TREE(input=source, exact_match_map=table), on_no_match=otherwise)
