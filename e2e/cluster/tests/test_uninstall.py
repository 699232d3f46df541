# SPDX-License-Identifier: Apache-2.0
"""`helm uninstall` takes this system off every node and puts the previous CNI file back.

Ends the cluster's use for any other test, so it runs only with CPY_TAKE_DOWN=1, just before
test_leaves_nothing (`tools/test.sh`).
"""

from __future__ import annotations

import json
import os

import pytest

from e2e import system
from e2e.cluster import Cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.environ.get("CPY_TAKE_DOWN") != "1",
        reason="uninstalls the system: set CPY_TAKE_DOWN=1 to run it",
    ),
]

CONF = "/etc/cni/net.d"
SET_ASIDE = f"{CONF}/10-previous.conflist.cilium_bak"


def leftovers(cluster: Cluster, node: str) -> list[str]:
    """What of this system is on a node, each with the place it was found in."""

    def run(*argv: str) -> str:
        return cluster.node_exec(node, list(argv))

    found = [
        f"link {link['ifname']}"
        for link in json.loads(run("ip", "-j", "link"))
        if link["ifname"].startswith(("cilium", "lxc"))
    ]
    found += [f"nft table {line}" for line in run("nft", "list", "tables").splitlines()]
    found += [f"pin {n}" for n in run("ls", "/sys/fs/bpf").split() if "cilium" in n]
    found += [f"plugin {n}" for n in run("ls", "/opt/cni/bin").split() if "cilium" in n]
    found += [f"conf {n}" for n in run("ls", CONF).split() if "cilium" in n]
    found += [f"state {n}" for n in run("sh", "-c", "ls -A /var/run/cilium || true").split()]
    for family in ("-4", "-6"):
        routes = run("ip", family, "route").splitlines()
        found += [f"route {line}" for line in routes if "cilium" in line]
    return found


def test_uninstall_leaves_nodes_clean() -> None:
    cluster = Cluster()
    if not cluster.kubeconfig.exists():
        pytest.skip("no cluster is up")
    nodes = cluster.nodes
    assert all(leftovers(cluster, node) for node in nodes), "nothing is installed"
    for node in nodes:
        cluster.node_exec(node, ["sh", "-c", f"echo '{{}}' > {SET_ASIDE}"])
    system.uninstall(cluster)
    assert {node: leftovers(cluster, node) for node in nodes} == {node: [] for node in nodes}
    for node in nodes:
        assert cluster.node_exec(node, ["ls", CONF]).split() == ["10-previous.conflist"]
