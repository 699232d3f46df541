# SPDX-License-Identifier: Apache-2.0
"""Random churn with random kills: at every quiet point the maps of all nodes are the right ones.

`CHURN_SECONDS` is how long (300 in `make soak`), `CHURN_SEED` repeats the choices of a run. The
canary runs beside it as in every test: what policy forbids it must never reach.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator

import pytest

from e2e.churn.actions import NODES, Churn
from e2e.churn.judge import Judge
from e2e.cluster import Cluster
from e2e.kube import Kube, until

SECONDS = float(os.environ.get("CHURN_SECONDS", "20"))
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(120 + 3 * SECONDS, func_only=True),
    pytest.mark.xdist_group("breaks"),
]
STRETCH = 10.0  # seconds of churn between two quiet points
QUIET_SECONDS = 60.0
SHOWN = 20


@pytest.fixture
def churn(cluster: Cluster, kube: Kube) -> Iterator[Churn]:
    seed = int(os.environ.get("CHURN_SEED", random.randrange(1 << 32)))
    print(f"CHURN_SEED={seed}")
    netns = {node: cluster.node_netns(node) for node in NODES}
    made = Churn(kube, netns, random.Random(seed), uuid.uuid4().hex[:5])
    made.start()
    yield made
    made.stop()


def test_maps_are_right_at_every_quiet_point(cluster: Cluster, kube: Kube, churn: Churn) -> None:
    judge = Judge(cluster, kube)
    begun = time.monotonic()
    quiet = []
    while time.monotonic() - begun < SECONDS or not churn.kills:
        stretch = time.monotonic()
        while time.monotonic() - stretch < STRETCH:
            churn.act()
        try:
            quiet.append(until("all maps are right", judge.agrees, QUIET_SECONDS, 0.5))
        except TimeoutError as error:
            recent, found = "\n".join(churn.history[-60:]), "\n".join(judge.found[:SHOWN])
            raise AssertionError(f"{error}:\n{found}\nafter:\n{recent}") from error
    refused = [line for line in churn.history if "refused: " in line]
    print(
        f"{len(churn.history)} actions, {len(refused)} of them refused, {churn.kills} kills,"
        f" right at {len(quiet)} quiet points, at the latest {max(quiet):.1f} s after the churn"
    )
    assert len(refused) < len(churn.history) / 4, refused[-5:]
