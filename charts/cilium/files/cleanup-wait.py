# SPDX-License-Identifier: Apache-2.0
"""Waits for a step of the uninstall; run by the hook Jobs in the agent's image.

`agents-gone` waits until no pod of agents and proxies is left, so that nothing is made again behind
the clean-up.
`nodes-clean` waits until the clean-up DaemonSet is ready on every node, and names the others.
Standard library only, one thread: it polls the API server every second.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def api_servers() -> list[str]:
    """Return the API server's addresses as host:port, in the order to try them."""
    return [server for server in os.environ["CILIUM_K8S_API_SERVERS"].split(",") if server]


def get(path: str) -> Any:
    """GET a path of the API from the first server that answers. OSError when none does."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    last: OSError = OSError("CILIUM_K8S_API_SERVERS is empty")
    for server in api_servers():
        request = urllib.request.Request(
            f"https://{server}{path}",
            headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"},
        )
        try:
            with opener.open(request, timeout=5) as reply:
                return json.load(reply)
        except OSError as error:
            last = error
    raise last


def pods(namespace: str, selector: str) -> list[Any]:
    """Return the pods that the selector names, which is ready for a URL."""
    return list(get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")["items"])


def agents_left(namespace: str) -> str:
    """Return what is still to wait for, empty when no pod of an agent or of proxies is left."""
    found = pods(namespace, "k8s-app%20in%20(cilium,cilium-envoy)")
    left = {pod["spec"].get("nodeName", "?") for pod in found}
    return f"agents or proxies still on {', '.join(sorted(left))}" if left else ""


def nodes_left(namespace: str) -> str:
    """Return what is still to wait for, empty when every node has been cleaned."""
    daemon = get(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/cilium-cleanup")
    status = daemon.get("status", {})
    if status.get("observedGeneration", 0) < daemon["metadata"]["generation"]:
        return "the clean-up DaemonSet has not been seen yet"
    if status.get("numberReady", 0) >= status.get("desiredNumberScheduled", 0):
        return ""
    left = [
        pod["spec"].get("nodeName", "?")
        for pod in pods(namespace, "k8s-app%3Dcilium-cleanup")
        if not any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod.get("status", {}).get("conditions", [])
        )
    ]
    return f"not clean yet: {', '.join(sorted(left)) or 'nodes without a pod'}"


STEPS = {"agents-gone": agents_left, "nodes-clean": nodes_left}


def main(step: str, timeout: float) -> int:
    """Wait at most `timeout` seconds for the step; 0 when it is done, 1 when time ran out."""
    namespace = os.environ["CILIUM_K8S_NAMESPACE"]
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        try:
            left = STEPS[step](namespace)
        except OSError as error:
            left = f"API server: {error}"
        if not left:
            print(f"{step}: done", flush=True)
            return 0
        if left != said:
            print(f"{step}: {left}", flush=True)
            said = left
        if time.monotonic() >= deadline:
            print(f"{step}: gave up after {timeout:.0f} s: {left}", file=sys.stderr, flush=True)
            return 1
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
