# SPDX-License-Identifier: Apache-2.0
"""What kopf is told to do: watch and index, nothing that makes it write to objects."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from cilium_core.process.access import Access, Token
from cilium_operator.cluster import Cluster
from cilium_operator.config import parse
from cilium_operator.views import cilium_node_view, node_view
from cilium_operator.watch import registry, settings_for


async def changed(index: str, body: Mapping[str, Any]) -> None:
    raise AssertionError("not called here")


def test_there_are_only_events_and_indexes() -> None:
    access = Access((("192.0.2.1", 443),), "x", ssl.create_default_context(), Token(text="x"))
    handlers = registry(access, Cluster(), changed)
    assert {handler.id for handler in handlers._indexing.get_all_handlers()} == {
        "nodes",
        "agents",
        "cilium_nodes",
        "service_cidrs",
    }
    assert len(handlers._watching.get_all_handlers()) == 6
    assert handlers._changing.get_all_handlers() == []
    assert handlers._spawning.get_all_handlers() == []


def test_kopf_posts_no_events_and_watches_agents_only() -> None:
    tuned = settings_for(parse({}))
    assert tuned.posting.enabled is False
    assert tuned.watching.label_selectors["", "v1", "pods"] == "k8s-app=cilium"


def body(name: str, uid: str, created: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid, "creationTimestamp": created}}


def test_objects_that_a_list_lacks_are_left_out() -> None:
    cluster = Cluster()
    old, new = (
        cilium_node_view(body("a", "1", "2026-01-01T00:00:00Z")),
        cilium_node_view(body("a", "2", "2026-01-02T00:00:00Z")),
    )
    node = node_view(body("a", "3", "2026-01-01T00:00:00Z"))
    cluster.attach({"cilium_nodes": {"a": [old, new]}, "nodes": {"a": [node]}})
    assert cluster.cilium_node("a") == new
    cluster.compare("cilium_nodes", {"1", "2"}, {"1"})
    assert cluster.cilium_node("a") == old
    cluster.compare("nodes", {"3"}, set())
    assert cluster.node("a") is None
    assert cluster.cilium_node("a") == old
