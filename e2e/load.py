# SPDX-License-Identifier: Apache-2.0
"""The load that tests put on the data path while they break or change something.

10 000 requests on kept and on new connections and a transfer of 1 GiB, over both families, on one
node and across nodes, spread over a given time. Blocking; the commands run detached in a pod.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from e2e import realtime
from e2e.kube import Kube, probe_pod, until

# What the data path may stall for, beside the breakage alone.
STALL_MS = 200.0
GIB = 1 << 30
REQUESTS = 10_000
PODS = {"client": "node1", "near": "node1", "far": "node2"}
SETTLE_SECONDS = 120.0


def url(address: str) -> str:
    """The HTTP server of a probe at an address of either family."""
    return f"http://[{address}]:8080" if ":" in address else f"http://{address}:8080"


def places(kube: Kube, namespace: str) -> dict[str, list[str]]:
    """Make the load's pods: `client` and `near` on node1, `far` on node2; their addresses."""
    kube.apply(*(probe_pod(namespace, name, node) for name, node in PODS.items()))
    kube.wait_ready(namespace, *PODS)
    return {name: kube.pod_addresses(namespace, name) for name in PODS}


def commands(places: Mapping[str, Sequence[str]], seconds: float) -> dict[str, tuple[str, ...]]:
    """The probe commands by name, which last `seconds` and share the requests and the bytes. Pure.

    A family has its kept connection and its transfer; new connections go to all in turn.
    """
    far = [url(address) for address in places["far"]]
    near = [url(address) for address in places["near"]]
    made: dict[str, tuple[str, ...]] = {}
    for number, base in enumerate(far):
        share = REQUESTS // 2 // len(far)
        made[f"kept-{number}"] = ("held", "--target", f"{base}/", *_many(share, seconds))
        size = GIB // len(far)
        body = f"{base}/bytes?n={size}&rate={int(size / seconds)}"
        made[f"transfer-{number}"] = ("fetch", "--target", body)
    targets = [word for base in (*far, *near) for word in ("--target", f"{base}/")]
    made["new"] = ("http", *targets, "--summary", *_many(REQUESTS // 2, seconds))
    return made


def _many(count: int, seconds: float) -> tuple[str, ...]:
    return ("--count", str(count), "--rate", str(count / seconds), "--timeout", "30")


class Load:
    """The running load, first in line for the CPU. `begun` is the time.monotonic of its start."""

    def __init__(
        self, kube: Kube, namespace: str, places: Mapping[str, Sequence[str]], seconds: float
    ) -> None:
        self._kube, self._namespace = kube, namespace
        self._commands = commands(places, seconds)
        serving = realtime.prefer_probes()
        self.begun = time.monotonic()
        self.ends = self.begun + seconds
        for name, words in self._commands.items():
            kube.detach_probe(namespace, "client", name, *words)
        until(
            "the load's processes",
            lambda: len(realtime.prefer_probes() - serving) >= len(self._commands),
            20,
        )

    def judge(self, title: str) -> float:
        """Wait for the end; print the stalls, and assert that nothing was lost or stalled.

        The time.monotonic up to which all of it has run.
        """
        left = max(0.0, self.ends - time.monotonic()) + SETTLE_SECONDS
        results = {
            name: self._kube.detached_result(self._namespace, "client", name, left)
            for name in self._commands
        }
        stalls, late, lasted = {}, 0.0, []
        for name, result in results.items():
            if name.startswith("transfer"):
                stalls[name] = result["detail"]["longest_stall_ms"]
                lasted.append(result["ms"] / 1000)
            else:
                stalls[name] = result["max_ms"]
                late = max(late, result["schedule_late_ms"])
                lasted.append(result["seconds"])
        print(f"{title}: longest stalls in ms {stalls}; the client itself was late by {late} ms")
        assert faults(self._commands, results) == []
        assert max(stalls.values()) < STALL_MS, stalls
        return self.begun + min(lasted)


def faults(commands: Mapping[str, Sequence[str]], results: Mapping[str, Any]) -> list[str]:
    """What was not answered whole, one line each. Pure."""
    found = []
    for name, words in commands.items():
        result = results[name]
        if name.startswith("transfer"):
            size = int(words[-1].partition("n=")[2].partition("&")[0])
            if not result["ok"] or result["detail"]["bytes"] != size:
                found.append(f"{name}: {result}")
        else:
            count = int(words[words.index("--count") + 1])
            if result["ok"] != count or result["errors"]:
                found.append(f"{name}: {result['ok']} of {count} answered, {result['errors']}")
    return found
