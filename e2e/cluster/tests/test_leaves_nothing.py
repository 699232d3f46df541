# SPDX-License-Identifier: Apache-2.0
"""After `down` the machine is as it was before `up`.

Takes the cluster down that the suite ran on, so it runs in a session of its own, the last one, and
only when CPY_TAKE_DOWN=1 says that this is wanted (`tools/test.sh` does).
"""

from __future__ import annotations

import os
import time

import pytest

from e2e.cluster import snapshot
from e2e.cluster.local import Local
from e2e.cluster.shell import Progress

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("CPY_TAKE_DOWN") != "1",
        reason="takes the cluster down: set CPY_TAKE_DOWN=1 to run it",
    ),
    pytest.mark.skipif(os.environ.get("PROVIDER") == "kind", reason="local provider only"),
]


def test_down_leaves_nothing() -> None:
    """Uses the cluster that the suite ran on; brings an empty one up when there is none."""
    local, progress = Local(), Progress()
    if local.state.exists() and not local.before.exists():
        local.down(progress)
    if not local.state.exists():
        local.up(progress, 1)
    before = snapshot.load(local.before)
    local.down(progress)
    # The kernel frees BPF objects and namespaces a moment after their last user is gone.
    end = time.monotonic() + 20
    while found := snapshot.difference(before, snapshot.take()):
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    assert found == []
