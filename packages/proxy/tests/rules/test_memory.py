# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from proxy_fakes import http, rule_set

from cilium_proxy.rules.memory import Memory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "proxy" / "rules"


def test_what_is_written_is_read(path):
    sets = [rule_set(10001, 4, [http(path="/a")]), rule_set(10002)]
    Memory(path).write(sets)
    assert Memory(path).read() == sets


def test_no_rule_sets_is_something_known_and_no_file_is_not(path):
    assert Memory(path).read() is None
    Memory(path).write([])
    assert Memory(path).read() == []


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"\x18"])
def test_a_file_that_is_not_whole_says_nothing(path, content):
    Memory(path).write([rule_set(10001)])
    path.write_bytes(content)
    assert Memory(path).read() is None


def test_a_folder_that_cannot_be_written_leaves_no_old_file(path):
    Memory(path).write([rule_set(10001)])
    path.with_suffix(".part").mkdir()
    Memory(path).write([])
    assert Memory(path).read() is None
