# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the cluster, this system by Helm with the article's values, emojivoto on it.

Each step says what it does and how long it took; all can be run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

from e2e import builds, system
from e2e.cluster import Cluster

NEXT = """
Look around:
  export KUBECONFIG={kubeconfig}
  export PATH={root}/.venv/bin:{root}/.cluster/bin:$PATH
  cilium status
  kubectl -n emojivoto get pods -o wide
  kubectl -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg endpoint list
Take it away:
  make cluster-down
"""


def step(text: str, action: Callable[[], object]) -> None:
    """Run one step, print it with the seconds it took."""
    start = time.monotonic()
    print(f"==> {text}", flush=True)
    action()
    print(f"    done in {time.monotonic() - start:.0f} s", flush=True)


def main() -> int:
    """Bring all up and show the status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--provider", default="local", choices=["local", "kind"])
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args()
    if os.geteuid():
        print("make demo needs root: it makes network namespaces and loads eBPF programs")
        return 1
    cluster = Cluster(provider=options.provider)
    step(f"cluster of {options.nodes} nodes", lambda: cluster.up(nodes=options.nodes))
    step("images", cluster.load_images)
    step("helm install with e2e/values.yaml", lambda: system.install(cluster))
    # A cluster that ran before may have pods of images that were built anew since.
    builds.restart_outdated(cluster, system.NAMESPACE)
    step("agents, operator and DNS ready", lambda: system.wait_ready(cluster))
    builds.restart_outdated(cluster, "emojivoto")
    step("emojivoto", lambda: system.deploy_emojivoto(cluster))
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    subprocess.run(["cilium", "status"], env=env, check=True)
    print(NEXT.format(kubeconfig=cluster.kubeconfig, root=system.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
