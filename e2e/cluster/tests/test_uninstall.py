# SPDX-License-Identifier: Apache-2.0
"""`cilium uninstall` takes this system off every node and gives the node back what it had.

Ends the cluster's use for any other test, so it runs only with CPY_TAKE_DOWN=1, just before
test_leaves_nothing (`tools/test.sh`).
"""

from __future__ import annotations

import json
import os
import time

import pytest

from e2e import system
from e2e.cluster import Cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        os.environ.get("CPY_TAKE_DOWN") != "1",
        reason="uninstalls the system: set CPY_TAKE_DOWN=1 to run it",
    ),
]

CONF = "/etc/cni/net.d"
OWN, FOREIGN = "05-cilium.conflist", "10-foreign.conflist"
FOREIGN_TEXT = '{"cniVersion": "1.0.0", "name": "foreign", "plugins": [{"type": "bridge"}]}'
# The agent looks at files and settings of its node every 30 s.
REPAIR_SECONDS = 75.0
RP_FILTER = "/proc/sys/net/ipv4/conf/eth0/rp_filter"
FORWARDING = (
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/forwarding",
    "/proc/sys/net/ipv6/conf/all/forwarding",
)


def shell(cluster: Cluster, node: str, script: str) -> str:
    return cluster.node_exec(node, ["sh", "-ec", script]).strip()


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


def changed_by_another(cluster: Cluster, node: str) -> None:
    """Another plugin puts its configuration on the node, and somebody sets a kernel setting."""
    shell(cluster, node, f"echo '{FOREIGN_TEXT}' >{CONF}/{FOREIGN}; echo 2 >{RP_FILTER}")


def taken_over(cluster: Cluster, node: str) -> bool:
    """Whether the agent has set the one aside and the other back."""
    files = shell(cluster, node, f"ls {CONF}").split()
    return (
        files == [OWN, f"{FOREIGN}.cilium_bak"] and shell(cluster, node, f"cat {RP_FILTER}") == "0"
    )


def test_uninstall_leaves_nodes_clean() -> None:
    cluster = Cluster()
    if not cluster.kubeconfig.exists():
        pytest.skip("no cluster is up")
    nodes = cluster.nodes
    assert all(leftovers(cluster, node) for node in nodes), "nothing is installed"
    for node in nodes:
        changed_by_another(cluster, node)
    deadline = time.monotonic() + REPAIR_SECONDS
    while waiting := [node for node in nodes if not taken_over(cluster, node)]:
        assert time.monotonic() < deadline, f"the agent did not take over on {waiting}"
        time.sleep(2.0)

    system.cilium(cluster.kubeconfig, "uninstall")

    assert {node: leftovers(cluster, node) for node in nodes} == {node: [] for node in nodes}
    for node in nodes:
        assert shell(cluster, node, f"ls {CONF}").split() == [FOREIGN]
        assert shell(cluster, node, f"cat {CONF}/{FOREIGN}") == FOREIGN_TEXT
        # docs/operations.md: the reverse path check as it was; forwarding stays on.
        assert shell(cluster, node, f"cat {RP_FILTER}") == "2"
        assert shell(cluster, node, f"cat {' '.join(FORWARDING)}").split() == ["1", "1", "1"]
