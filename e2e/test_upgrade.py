# SPDX-License-Identifier: Apache-2.0
"""An installed release is changed by `cilium upgrade` and back by Helm, under load.

The change rolls every agent out and shows in new pods; pods that run keep their connections.
"""

from __future__ import annotations

import pytest
import yaml

from e2e import system
from e2e.cluster import Cluster
from e2e.kube import Kube, probe_pod, until
from e2e.load import Load, places

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(420, func_only=True),
    pytest.mark.xdist_group("breaks"),
]
LOAD_SECONDS = 60.0
SIZE = 1400


def _values(cluster: Cluster) -> object:
    text = system.helm(cluster.kubeconfig, "get", "values", "cilium", "-n", system.NAMESPACE)
    return yaml.safe_load(text.removeprefix("USER-SUPPLIED VALUES:\n"))


def _size_of_a_new_pod(kube: Kube, namespace: str, name: str) -> int:
    """The size of packets (bytes) that a new pod on node1 may send, by its device."""
    kube.apply(probe_pod(namespace, name, "node1"))
    kube.wait_ready(namespace, name)
    where = ("-n", namespace)
    found = kube.kubectl(*where, "exec", name, "--", "cat", "/sys/class/net/eth0/mtu")
    kube.kubectl(*where, "delete", "pod", name, "--wait=true", "--timeout=60s")
    return int(found)


def _rolled_out(kube: Kube) -> bool:
    daemon = kube.json("-n", system.NAMESPACE, "get", "daemonset", "cilium")
    status, wanted = daemon["status"], daemon["status"]["desiredNumberScheduled"]
    return status["observedGeneration"] == daemon["metadata"]["generation"] and (
        status.get("updatedNumberScheduled", 0) == status.get("numberReady", 0) == wanted
    )


def test_a_value_is_changed_and_changed_back(cluster: Cluster, kube: Kube, namespace: str) -> None:
    article = yaml.safe_load(system.VALUES.read_text())
    before = _size_of_a_new_pod(kube, namespace, "before")
    assert before != SIZE
    running = Load(kube, namespace, places(kube, namespace), LOAD_SECONDS)
    try:
        # The line of docs/getting-started.md.
        upgrade = ("upgrade", "--reuse-values", "--set", f"MTU={SIZE}", "--wait")
        system.cilium(cluster.kubeconfig, *upgrade)
        assert _rolled_out(kube), "--wait returned before all agents were new and ready"
        assert _values(cluster) == {**article, "MTU": SIZE}
        assert _size_of_a_new_pod(kube, namespace, "changed") == SIZE
    finally:
        system.install(cluster)
        until("the roll-out back", lambda: _rolled_out(kube), 150, 1.0)
    assert _values(cluster) == article
    assert _size_of_a_new_pod(kube, namespace, "back") == before
    running.judge("two upgrades")
