# SPDX-License-Identifier: Apache-2.0
"""Every command in the guides runs as it is written, on the cluster of the suite."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e import system

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

GUIDES = ("docs/getting-started.md", "docs/operations.md")
# What other tests run, since it makes or ends what this suite stands on.
ELSEWHERE = {
    "make doctor": "tools/test.sh",
    "make cluster-up": "e2e/conftest.py, through the same Cluster.up",
    "cilium install --values e2e/values.yaml": "e2e/conftest.py",
    "helm install cilium charts/cilium -n kube-system -f e2e/values.yaml": "e2e/demo.py",
    "cilium upgrade --reuse-values --set MTU=1400 --wait": "e2e/test_upgrade.py",
    "cilium uninstall": "e2e/cluster/tests/test_uninstall.py",
    "make cluster-down": "e2e/cluster/tests/test_leaves_nothing.py",
}


def commands() -> list[str]:
    """The lines of all console blocks, comments cut off, continued lines joined."""
    found = []
    for guide in GUIDES:
        text = (system.ROOT / guide).read_text()
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.split("  #")[0].strip() for line in lines]
    return list(dict.fromkeys(line for line in found if line))


def test_what_runs_elsewhere_is_in_the_guides() -> None:
    assert set(ELSEWHERE) <= set(commands())


@pytest.mark.parametrize(
    "command",
    [c for c in commands() if c not in ELSEWHERE and not c.startswith("export ")],
)
def test_command(cluster: Any, emojivoto: str, command: str) -> None:
    env = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PATH": f"{system.ROOT}/.venv/bin:{system.ROOT}/.cluster/bin:{os.environ['PATH']}",
    }
    done = subprocess.run(  # the shell is what a reader types into
        command, shell=True, cwd=Path(system.ROOT), env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
