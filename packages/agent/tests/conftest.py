# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the agent's tests; the fakes beside this file are importable as `agent_fakes`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agent_fakes import Namespace, enter_new_netns, return_to_netns

from cilium_agent.host import netns


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test with a network namespace of its own as the node's."""
    old = enter_new_netns()
    threads = ThreadPoolExecutor(4)  # made in here: threads keep the namespace they start in
    monkeypatch.setattr(netns, "_node_threads", threads)
    try:
        yield
    finally:
        threads.shutdown()
        return_to_netns(old)


@pytest.fixture
def namespaces() -> Iterator[list[Namespace]]:
    """A list to append pods' namespaces to; all are closed at the end."""
    made: list[Namespace] = []
    yield made
    for namespace in made:
        namespace.close()


@pytest.fixture
def pod_netns(namespaces: list[Namespace]) -> Namespace:
    """One pod's network namespace."""
    namespaces.append(Namespace())
    return namespaces[0]
