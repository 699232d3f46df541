# SPDX-License-Identifier: Apache-2.0
"""RE2 expressions and DNS patterns match whole texts, as the proxies match them."""

import pytest

from cilium_core.errors import FieldError
from cilium_core.policy.patterns import dns_name, expression, name_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("/public/.*", "/public/a", True),
        ("/public/.*", "/x/public/a", False),
        ("/public", "/public/a", False),
        ("GET|HEAD", "HEAD", True),
        ("GET|HEAD", "GETX", False),
        ("[[:digit:]]+", "42", True),
        ("[[:digit:]x]+", "4x2", True),
        ("[[:digit:]]+", "4a", False),
        (r"\d+", "٤", False),
        (r"a\z", "a", True),
        (r"\\p", "\\p", True),
    ],
)
def test_expressions(pattern, text, found):
    assert bool(expression(pattern).fullmatch(text)) is found


@pytest.mark.parametrize("pattern", [r"\pL+", r"a\p{Greek}", "[[:what:]]", "[[:^digit:]]"])
def test_what_only_re2_knows_is_refused(pattern):
    with pytest.raises(FieldError, match="only be judged by the proxy"):
        expression(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("*", "a.b.c", True),
        ("*", "", True),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.www.example.com", False),
        ("*.example.com", "example.com", False),
        ("**.example.com", "a.www.example.com", True),
        ("**.example.com", "www.example.com", True),
        ("**.example.com", "example.com", False),
        ("w*w.example.com", "ww.example.com", True),
        ("w*w.example.com", "wxw.example.com", True),
        ("w*w.example.com", "w.w.example.com", False),
        ("example.com", "exampleXcom", False),
    ],
)
def test_name_patterns(pattern, name, found):
    assert bool(name_pattern(pattern).fullmatch(name)) is found


def test_names_are_compared_in_one_form():
    assert dns_name("WWW.Example.com.") == "www.example.com"
