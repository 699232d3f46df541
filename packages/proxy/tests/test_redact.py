# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cilium_proxy.redact import PLACEHOLDER, Redaction

URL = "http://me:secret@host:80/a/b?token=x#part"


def test_nothing_is_hidden_unless_it_is_enabled():
    off = Redaction(url_query=True, headers_deny=frozenset({"cookie"}), kafka_api_key=True)
    assert off.url(URL) == URL
    assert off.header("Cookie", "v") == "v"
    assert off.kafka_key("k") == "k"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, f"http://me:{PLACEHOLDER}@host:80/a/b?token=x#part"),
        ({"url_query": True}, f"http://me:{PLACEHOLDER}@host:80/a/b"),
        ({"user_info": False}, URL),
        ({"user_info": False, "url_query": True}, "http://me:secret@host:80/a/b"),
    ],
)
def test_urls(settings, url):
    assert Redaction(enabled=True, **settings).url(URL) == url


@pytest.mark.parametrize(
    "url",
    ["http://host/a:b@c", "http://user@host/", "/a:b@c", "http://host", "http://h/?q=a:b@c"],
)
def test_urls_without_a_password_stay(url):
    assert Redaction(enabled=True).url(url) == url


@pytest.mark.parametrize(
    ("allow", "deny", "shown"),
    [
        ((), (), set()),
        (("a",), (), {"a"}),
        ((), ("a",), {"b"}),
    ],
)
def test_headers_by_the_lists(allow, deny, shown):
    made = Redaction(enabled=True, headers_allow=frozenset(allow), headers_deny=frozenset(deny))
    found = {name.lower() for name in ("A", "b") if made.header(name, "v") == "v"}
    assert found == shown


def test_kafka_keys():
    assert Redaction(enabled=True, kafka_api_key=True).kafka_key("k") == PLACEHOLDER
    assert Redaction(enabled=True).kafka_key("k") == "k"
