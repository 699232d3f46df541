# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.policy.language.expressions import expression
from cilium_core.policy.language.fields import Field
from cilium_proxy.errors import RuleError
from cilium_proxy.translate.expressions import Expression, read

CASES = [
    ("", Expression()),
    (".*", Expression()),
    ("GET", Expression(exact=("GET",))),
    ("GET|PUT", Expression(exact=("GET", "PUT"))),
    ("(GET|PUT)", Expression(exact=("GET", "PUT"))),
    ("(?:GET|PUT)", Expression(exact=("GET", "PUT"))),
    ("^/a$", Expression(exact=("/a",))),
    (r"/v1\.0/x\-y", Expression(exact=("/v1.0/x-y",))),
    ("/v1.0", Expression(regex="/v1.0")),
    ("/public/.*", Expression(prefix="/public/")),
    (r"/a\.b/.*", Expression(prefix="/a.b/")),
    ("/a/.*/b", Expression(regex="/a/.*/b")),
    ("/a.*|/b", Expression(regex="/a.*|/b")),
    (r"/\d+", Expression(regex=r"/\d+")),
    ("a$b", Expression(regex="a$b")),
    ("GET|", Expression(regex="GET|")),
    ("(a)(b)", Expression(regex="(a)(b)")),
]


@pytest.mark.parametrize(("text", "found"), CASES)
def test_what_an_expression_comes_down_to(text, found):
    assert read("path", text) == found


def test_what_re2_does_not_take_is_refused():
    with pytest.raises(RuleError, match="path: "):
        read("path", "(?<=a)b")


@given(st.text("ab/.|()\\$^*-", max_size=6), st.text("ab/.|-", max_size=5))
def test_it_matches_the_same_texts(text, candidate):
    try:
        expected = re2.fullmatch(text, candidate) is not None
    except re2.error:
        expected = None
    try:
        found = read("path", text)
    except RuleError:
        assert expected is None
        return
    if expected is None or not text:
        return
    if found.anything:
        assert expected
    elif found.regex:
        assert found.regex == text
    else:
        here = candidate in found.exact or bool(found.prefix and candidate.startswith(found.prefix))
        assert here == expected


PIECES = [
    *r"ab/.*+?()[]{}|^$-,\\",
    *[
        r"\1",
        r"\d",
        r"\p{Greek}",
        r"\pN",
        r"\z",
        r"\Z",
        r"\b",
        r"\B",
        r"\A",
        r"\x41",
        r"\u0041",
        r"\Q",
        r"\E",
        r"\n",
    ],
]
PIECES += [
    "(?:",
    "(?i)",
    "(?x)",
    "(?s:",
    "(?P<n>",
    "(?=",
    "[^",
    "[[:alpha:]]",
    "{2}",
    "{,3}",
    "{2,}",
]
PIECES += ["{999}", "{1001}", "{40}", "*?", "+?", "a{30}", "(a{40})"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_the_policy_language_takes_re2_takes(text):
    errors = []
    if expression(Field(text, "path", errors)):
        assert not errors
        re2.compile(text)
