# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests ask of a cluster: kubectl with JSON, test pods, and processes.

Blocking child processes throughout; a detached probe runs on in its pod beside the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROBE_IMAGE = "localhost/cilium-python/probe:0.1.0"
EXEC_SECONDS = 180


class KubeError(Exception):
    """kubectl or a probe failed; the message is the command and what it said."""


@dataclass
class Kube:
    """A kubectl program with a kubeconfig."""

    kubeconfig: Path
    program: Path
    _env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *args: str, stdin: str = "", timeout: float = EXEC_SECONDS) -> str:
        """kubectl's output; KubeError with its own words when it fails."""
        done = self._run(args, stdin, timeout)
        if done.returncode:
            raise KubeError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def json(self, *args: str) -> Any:
        """kubectl's output with `-o json`, decoded."""
        return json.loads(self.kubectl(*args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def probe(self, namespace: str, pod: str, *args: str, stdin: str = "") -> list[Any]:
        """The JSON lines of the probe command in a pod; tries that fail are lines, not errors."""
        words = ("-n", namespace, "exec", "-i", pod, "--", "probe", *args)
        done = self._run(words, stdin, EXEC_SECONDS)
        if done.returncode > 1 or not done.stdout:
            raise KubeError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def matrix(self, namespace: str, pod: str, elements: list[dict[str, Any]]) -> list[Any]:
        """The outcomes of a probe matrix that is tried from a pod."""
        outcomes: list[Any] = self.probe(namespace, pod, "matrix", stdin=json.dumps(elements))[0]
        return outcomes

    def detach_probe(self, namespace: str, pod: str, name: str, *args: str) -> None:
        """Start the probe command in a pod and leave it there, its output in the pod's /tmp.

        It outlives this kubectl, and the containerd that an exec stream hangs on.
        """
        line = (
            f'rm -f /tmp/{name}.json; setsid "$@" </dev/null >/tmp/{name}.json 2>/tmp/{name}.err &'
        )
        self.kubectl(*("-n", namespace, "exec", pod, "--", "sh", "-c", line, "sh", "probe", *args))

    def detached_result(self, namespace: str, pod: str, name: str, timeout: float) -> Any:
        """The one JSON line of a detached probe, once it has ended."""
        words = ("-n", namespace, "exec", pod, "--", "cat", f"/tmp/{name}.json")
        found: list[str] = []

        def ended() -> bool:
            found[:] = self._run(words, "", EXEC_SECONDS).stdout.splitlines()
            return bool(found)

        until(f"the result of probe {name}", ended, timeout, pause=1.0)
        return json.loads(found[-1])

    def pod_addresses(self, namespace: str, pod: str) -> list[str]:
        """The pod's addresses, IPv4 first."""
        status = self.json("-n", namespace, "get", "pod", pod)["status"]
        return sorted((entry["ip"] for entry in status["podIPs"]), key=lambda ip: ":" in ip)

    def service_addresses(self, namespace: str, service: str) -> list[str]:
        """The Service's cluster addresses."""
        addresses: list[str] = self.json("-n", namespace, "get", "service", service)["spec"][
            "clusterIPs"
        ]
        return addresses

    def node_addresses(self, node: str) -> tuple[str, str]:
        """The node's own IPv4 and IPv6 address, as its Node object says."""
        status = self.json("get", "node", node)["status"]
        own = [entry["address"] for entry in status["addresses"] if entry["type"] == "InternalIP"]
        v4, v6 = sorted(own, key=lambda ip: ":" in ip)
        return v4, v6

    def api_server(self) -> str:
        """`address:port` of the API server itself, behind the Service `kubernetes`."""
        found = self.json("-n", "default", "get", "endpointslice", "kubernetes")
        return f"{found['endpoints'][0]['addresses'][0]}:{found['ports'][0]['port']}"

    def wait_ready(self, namespace: str, *pods: str, timeout: float = 90) -> float:
        """Wait until the pods are Ready; the seconds that it took."""
        begun = time.monotonic()
        names = [f"pod/{name}" for name in pods]
        limit = f"--timeout={timeout:.0f}s"
        try:
            self.kubectl("-n", namespace, "wait", "--for=condition=Ready", limit, *names)
        except KubeError as error:
            described = self.kubectl("-n", namespace, "describe", *names)
            raise KubeError(f"{error}\n{described[-4000:]}") from error
        return time.monotonic() - begun

    def _run(
        self, args: Sequence[str], stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *args],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def probe_pod(
    namespace: str, name: str, node: str | None = None, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """A serving probe pod, on a node of one's choice; its label `app` is its name."""
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "probe",
                "image": PROBE_IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "env": [
                    {"name": "POD_NAME", "value": name},
                    {
                        "name": "NODE_NAME",
                        "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                    },
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": 8080},
                    "periodSeconds": 1,
                    "failureThreshold": 30,
                },
            }
        ],
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, **(labels or {})},
        },
        "spec": spec,
    }


def probe_service(namespace: str, name: str, app: str) -> dict[str, Any]:
    """A Service in front of a probe pod: TCP and UDP echo, and HTTP."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": app},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "echo", "port": 7000},
                {"name": "echo-udp", "port": 7000, "protocol": "UDP"},
            ],
        },
    }


def processes(program: str, netns: Path | None = None) -> list[int]:
    """Host-wide pids of processes that run a program (by file name), in that namespace if given."""
    wanted = netns.stat().st_ino if netns else None
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:2]
            inode = (entry / "ns" / "net").stat().st_ino
        except OSError:
            continue  # ended while we looked
        names = {os.path.basename(word).decode("utf-8", "replace") for word in words}
        if program in names and wanted in (None, inode):
            found.append(int(entry.name))
    return sorted(found)


def until(what: str, condition: Callable[[], bool], timeout: float, pause: float = 0.2) -> float:
    """Wait for a condition; the seconds that it took. TimeoutError says what did not come."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)
    return time.monotonic() - begun
