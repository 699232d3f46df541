# SPDX-License-Identifier: Apache-2.0
"""What the churn does at random: policies, pods, labels, and kill -9. Blocking, one at a time.

It remembers what it did, newest last, so that a failure can be told with what went before. What
the API server refuses (a pod that is just going, for example) is remembered as refused.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from e2e.churn import policies
from e2e.kube import Kube, KubeError, probe_pod, processes

NODES = ("node1", "node2", "node3")
PROGRAMS = ("cilium-agent", "cilium-agent", "cilium-hubble", "cilium-operator")
MOST_PODS, FEWEST_PODS = 12, 5
POLICY_NAMES = 5  # for each kind and namespace


class Churn:
    """One run over namespaces of its own, whose names begin with `churn-` and end with `mark`."""

    def __init__(self, kube: Kube, netns: Mapping[str, Path], random: Random, mark: str) -> None:
        """`netns` are the nodes' network namespaces."""
        self._kube, self._netns, self._random, self._mark = kube, netns, random, mark
        self.namespaces = tuple(f"churn-{short}-{mark}" for short in ("a", "b"))
        self.history: list[str] = []
        self.kills = 0
        self._pods: list[tuple[str, str]] = []
        self._policies: set[tuple[str, ...]] = set()
        self._number = itertools.count()
        self._begun = time.monotonic()

    def start(self) -> None:
        """Make the namespaces, the CIDR groups and the first pods."""
        for name in self.namespaces:
            labels = {policies.MARK: self._mark, "team": self._random.choice(policies.TEAMS)}
            metadata = {"name": name, "labels": labels}
            self._kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._kube.apply(*(policies.group(self._random, name) for name in policies.GROUPS))
        for _ in range(FEWEST_PODS):
            self._new_pod()

    def stop(self) -> None:
        """Take everything away; pods go on ending for a while."""
        for kind in ("ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"):
            names = [words[-1] for words in self._policies if words[0] == kind]
            names += policies.GROUPS if kind == "ciliumcidrgroups" else []
            if names:
                self._kube.kubectl("delete", "--ignore-not-found", kind, *names)
        self._kube.kubectl("delete", "namespace", "--wait=false", *self.namespaces)

    def act(self) -> None:
        """Do one thing at random."""
        action, _ = self._random.choices(_ACTIONS, [weight for _, weight in _ACTIONS])[0]
        try:
            done = action(self)
        except KubeError as error:
            done = f"refused: {str(error)[-300:]}"
        self.history.append(f"{time.monotonic() - self._begun:6.1f} s  {done}")

    def _network_policy(self) -> str:
        return self._apply(policies.network_policy, "networkpolicies")

    def _cilium_policy(self) -> str:
        return self._apply(policies.cilium_policy, "ciliumnetworkpolicies")

    def _clusterwide_policy(self) -> str:
        name = f"{self._mark}-{self._random.randrange(POLICY_NAMES)}"
        body = policies.clusterwide_policy(self._random, self._mark, name)
        self._policies.add(("ciliumclusterwidenetworkpolicies", name))
        self._kube.apply(body)
        return f"apply clusterwide {name}: {body['spec']}"

    def _apply(self, make: Callable[[Random, str, str], dict[str, Any]], kind: str) -> str:
        namespace = self._random.choice(self.namespaces)
        name = f"p{self._random.randrange(POLICY_NAMES)}"
        body = make(self._random, namespace, name)
        self._policies.add((kind, "-n", namespace, name))
        self._kube.apply(body)
        return f"apply {kind} {namespace}/{name}: {body['spec']}"

    def _group(self) -> str:
        body = policies.group(self._random, self._random.choice(policies.GROUPS))
        self._kube.apply(body)
        return f"apply group {body['metadata']['name']}: {body['spec']}"

    def _delete_policy(self) -> str:
        if not self._policies:
            return "no policy to delete"
        words = self._random.choice(sorted(self._policies))
        self._policies.remove(words)
        self._kube.kubectl("delete", *words)
        return f"delete {' '.join(words)}"

    def _new_pod(self) -> str:
        if len(self._pods) >= MOST_PODS:
            return self._delete_pod()
        namespace, node = self._random.choice(self.namespaces), self._random.choice(NODES)
        name = f"pod-{next(self._number)}"
        pod = probe_pod(namespace, name, node, policies.pod_labels(self._random))
        container = pod["spec"]["containers"][0]
        del container["readinessProbe"]  # what policies say of it does not matter here
        container["ports"] = [
            {"name": name, "containerPort": port} for name, port in policies.NAMED.items()
        ]
        self._kube.apply(pod)
        self._pods.append((namespace, name))
        return f"new pod {namespace}/{name} on {node}: {pod['metadata']['labels']}"

    def _delete_pod(self) -> str:
        if len(self._pods) <= FEWEST_PODS:
            return self._new_pod()
        namespace, name = self._pods.pop(self._random.randrange(len(self._pods)))
        self._kube.kubectl("-n", namespace, "delete", "pod", name, "--wait=false")
        return f"delete pod {namespace}/{name}"

    def _relabel_pod(self) -> str:
        namespace, name = self._random.choice(self._pods)
        labels = [f"{key}={value}" for key, value in policies.pod_labels(self._random).items()]
        self._kube.kubectl("-n", namespace, "label", "--overwrite", "pod", name, *labels)
        return f"label pod {namespace}/{name} {labels}"

    def _relabel_namespace(self) -> str:
        name, team = self._random.choice(self.namespaces), self._random.choice(policies.TEAMS)
        self._kube.kubectl("label", "--overwrite", "namespace", name, f"team={team}")
        return f"label namespace {name} team={team}"

    def _kill(self) -> str:
        program, node = self._random.choice(PROGRAMS), self._random.choice(NODES)
        where = None if program == "cilium-operator" else self._netns[node]
        pids = processes(program, where)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.kills += len(pids)
        return f"kill -9 {program} on {'its node' if where is None else node}: {pids}"


_ACTIONS: tuple[tuple[Callable[[Churn], str], int], ...] = (
    (Churn._network_policy, 14),
    (Churn._cilium_policy, 16),
    (Churn._clusterwide_policy, 8),
    (Churn._group, 4),
    (Churn._delete_policy, 14),
    (Churn._new_pod, 9),
    (Churn._delete_pod, 9),
    (Churn._relabel_pod, 12),
    (Churn._relabel_namespace, 4),
    (Churn._kill, 10),
)
