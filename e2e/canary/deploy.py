# SPDX-License-Identifier: Apache-2.0
"""Puts the canary on a cluster and takes it away. Blocking; kubectl is passed in.

`near` and `sender` run on one node, `far` on another; policy lets the sender alone in there, and
nobody at all in to `shut-near` and `shut-far`, from before these start. They are bare pods that are
never restarted: one that dies has lost what it counted, and that must show.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from e2e.canary.errors import CanaryError
from e2e.canary.flows import ECHO_PORT, HTTP_PORT, encode, plan
from e2e.canary.report import NAMESPACE

IMAGE = "localhost/cilium-python/probe:0.1.0"
SERVICE = "far"
SHUT_PODS = ("shut-near", "shut-far")
Kubectl = Callable[..., str]


def pod(name: str, node: str, command: Sequence[str], env: dict[str, str]) -> dict[str, Any]:
    """A pod of the probe image, fixed to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "probe",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(command),
                    "env": [{"name": key, "value": value} for key, value in env.items()],
                    "resources": {"requests": {"cpu": "25m", "memory": "32Mi"}},
                }
            ],
        },
    }


def policies() -> list[dict[str, Any]]:
    """Who may reach whom: NetworkPolicies that the suite's every breakage has to outlive."""
    guests = {
        "podSelector": {
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["near", "far"]}]
        },
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "sender"}}}]}],
    }
    nobody = {
        "podSelector": {
            "matchExpressions": [{"key": "app", "operator": "In", "values": list(SHUT_PODS)}]
        },
        "policyTypes": ["Ingress"],
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        for name, spec in (("guests", guests), ("nobody", nobody))
    ]


def service() -> dict[str, Any]:
    """The Service in front of the far pod, in both families where the cluster has both."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": "far"},
            "ports": [
                {"name": "http", "port": HTTP_PORT},
                {"name": "echo", "port": ECHO_PORT},
                {"name": "echo-udp", "port": ECHO_PORT, "protocol": "UDP"},
            ],
        },
    }


def start(kubectl: Kubectl, near: str, far: str, dns: Sequence[str]) -> None:
    """Start the canary between two nodes, anew when one runs; `dns` are the DNS addresses."""
    stop(kubectl)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    serve = ("probe", "serve")
    _apply(kubectl, namespace, service(), *policies())
    nodes = {"near": near, "far": far, "shut-near": near, "shut-far": far}
    _apply(kubectl, *(pod(name, node, serve, {}) for name, node in nodes.items()))
    _wait(kubectl, *nodes)
    places = {name: _pod_addresses(kubectl, name) for name in ("near", "far")}
    shut = {name: _pod_addresses(kubectl, f"shut-{name}") for name in ("near", "far")}
    services = _get(kubectl, "service", SERVICE)["spec"]["clusterIPs"]
    name = f"{SERVICE}.{NAMESPACE}.svc.cluster.local"
    flows = encode(plan(places, shut, services, dns, name))
    _apply(kubectl, pod("sender", near, ("probe", "canary"), {"CANARY_FLOWS": flows}))
    _wait(kubectl, "sender")


def stop(kubectl: Kubectl) -> None:
    """Remove the canary's pods and wait until they are gone; its namespace and Service stay."""
    kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--timeout=60s")


def _apply(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objects.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        kubectl("apply", "-f", str(path))


def _wait(kubectl: Kubectl, *pods: str) -> None:
    names = [f"pod/{name}" for name in pods]
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "--timeout=90s", *names)


def _get(kubectl: Kubectl, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json"))
    return found


def _pod_addresses(kubectl: Kubectl, name: str) -> list[str]:
    addresses = [entry["ip"] for entry in _get(kubectl, "pod", name)["status"].get("podIPs", [])]
    if not addresses:
        raise CanaryError(f"pod {NAMESPACE}/{name} is ready and has no address")
    return addresses
