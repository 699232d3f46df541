# SPDX-License-Identifier: Apache-2.0
"""The StatusResponse: what works, what is off, what is missing. Key names are upstream's. Pure."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from cilium_agent.proxies.encode import name_of
from cilium_agent.state import VERSION, AgentState, Outcome
from cilium_core.identity import MAX_CLUSTER_IDENTITY, MIN_CLUSTER_IDENTITY
from cilium_core.layouts.datapath import ALL_MAPS
from cilium_core.layouts.redirect import PORTS
from cilium_core.layouts.spec import MapSpec

SILENCE = 150.0  # seconds without a word from the API server before it counts as lost
_OFF = {"state": "Disabled"}


def status(state: AgentState, *, brief: bool = False) -> dict[str, Any]:
    """Return the whole status, or only what decides about health."""
    vital: dict[str, Any] = {
        "cilium": cilium(state),
        "kubernetes": kubernetes(state),
    }
    if brief:
        return vital
    return {
        **vital,
        "kvstore": _OFF,
        "kube-proxy-replacement": _kube_proxy(state),
        "host-firewall": {"mode": "Disabled"},
        "srv6": {"enabled": False},
        "cni-chaining": {"mode": "none"},
        "cni-file": _cni_file(state),
        "stale": {},
        "nodeMonitor": state.observer.monitor(),
        "ipam": _ipam(state),
        "cluster": _cluster(state),
        "cluster-mesh": {"clusters": [], "num-global-services": 0},
        "ipv4-big-tcp": {"enabled": False},
        "ipv6-big-tcp": {"enabled": False},
        "bandwidth-manager": {"enabled": False},
        "routing": {
            "intra-host-routing-mode": "BPF",
            "inter-host-routing-mode": "Tunnel",
            "tunnel-protocol": "vxlan",
        },
        "attach-mode": {"mode": "TCX"},
        "datapath-mode": "veth",
        "configured-datapath-mode": "veth",
        "masquerading": _masquerading(state),
        "clock-source": {"mode": "ktime"},
        "controllers": controllers(state),
        "proxy": proxy(state),
        "identity-range": {
            "min-identity": MIN_CLUSTER_IDENTITY,
            "max-identity": MAX_CLUSTER_IDENTITY,
        },
        "hubble": state.observer.status(),
        "hubble-metrics": state.observer.status().get("metrics", _OFF),
        "encryption": {"mode": "Disabled", "msg": ""},
        "auth-certificate-provider": _OFF,
        "bpf-maps": {
            "maps": [{"name": spec.name, "size": spec.max_entries} for spec in _maps(state)]
        },
        "client-id": 0,
        "features-not-available": not_available(state),
    }


def _maps(state: AgentState) -> list[MapSpec[Any, Any]]:
    """Return the maps as large as they are, as soon as they are open."""
    opened = state.store.sized() if state.store is not None else {}
    return [opened.get(spec.name, spec) for spec in ALL_MAPS]


def not_available(state: AgentState) -> list[str]:
    """Return what is asked for, by the values or by a Service, and not there yet."""
    asked = state.balancer.not_available() if state.balancer is not None else []
    return [*state.features_not_available, *asked]


def cilium(state: AgentState) -> dict[str, str]:
    """Return the agent's own state, with what it waits for while it starts."""
    if not state.ready:
        return {"state": "Warning", "msg": f"starting: waiting for {state.waiting_for}"}
    if not state.programs_current:
        return {"state": "Warning", "msg": "eBPF programs of an older version are in force"}
    return {"state": "Ok", "msg": f"{VERSION} (v{VERSION})"}


def kubernetes(state: AgentState) -> dict[str, Any]:
    """Return whether the API server answers."""
    client = state.client
    heard = client.last_contact if client is not None else 0.0
    silent = time.monotonic() - heard
    if not heard or silent > SILENCE:
        return {"state": "Failure", "msg": f"no answer from the API server for {silent:.0f} s"}
    version = state.kubernetes_version
    short = ".".join(version.removeprefix("v").split(".")[:2])
    return {
        "state": "Ok",
        "msg": f"{short} ({version}) [linux/amd64]",
        "k8s-api-versions": sorted(state.informers),
    }


def proxy(state: AgentState) -> dict[str, Any]:
    """Return upstream's ProxyStatus, with `state` and `msg` beside it: what is dropped now."""
    held = state.rule_sets.all() if state.rule_sets is not None else []
    forced = sorted((one for one in held if one.in_force), key=lambda one: one.port)
    addressing = state.addressing
    router = None if addressing is None else addressing.router_v4 or addressing.router_v6
    problems = [text for text in state.proxies.problems(state.rule_sets).values() if text]
    well = "Ok" if state.proxies.installed else "Disabled"
    return {
        "state": "Failure" if problems else well,
        "msg": "; ".join(problems),
        "ip": str(router) if router else "",
        "port-range": f"{PORTS[0]}-{PORTS[-1]}",
        "envoy-deployment-mode": "external",
        "total-ports": len(held),
        "total-redirects": len(forced),
        "redirects": [
            {"name": name_of(one.rules), "proxy": str(one.rules.kind), "proxy-port": one.port}
            for one in forced
        ],
    }


def controllers(state: AgentState) -> list[dict[str, Any]]:
    """Return the agent's repeated jobs and how they fare, and watches with objects not taken in."""
    listed = {name: _outcome(outcome) for name, outcome in state.controllers.items()}
    for scope, informer in state.informers.items():
        if informer.faulty:
            (namespace, name), error = next(iter(informer.faulty.items()))
            outcome = Outcome(
                successes=informer.events.total(),
                failures=informer.faults.total(),
                consecutive_failures=len(informer.faulty),
                last_success=informer.last_event,
                last_failure=informer.last_event,
                last_error=f"{'/'.join(filter(None, (namespace, name)))} not taken in: {error}",
            )
            listed[f"watch-{scope}"] = _outcome(outcome)
    return [{"name": name, "status": outcome} for name, outcome in sorted(listed.items())]


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "success-count": outcome.successes,
        "failure-count": outcome.failures,
        "consecutive-failure-count": outcome.consecutive_failures,
        "last-success-timestamp": rfc3339(outcome.last_success),
        "last-failure-timestamp": rfc3339(outcome.last_failure),
        "last-failure-msg": outcome.last_error if outcome.consecutive_failures else "",
    }


def rfc3339(seconds: float) -> str:
    """Return the text of a time; year 1 for never, as Go prints its zero time."""
    if not seconds:
        return "0001-01-01T00:00:00.000Z"
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _kube_proxy(state: AgentState) -> dict[str, Any]:
    addressing = state.addressing
    held = [] if addressing is None else [addressing.node_v4, addressing.node_v6]
    devices = [{"name": state.underlay, "ip": [str(a) for a in held if a]}]
    return {
        "mode": "True",
        "devices": [state.underlay] if state.underlay else [],
        "deviceList": devices if state.underlay else [],
        "features": {
            "socketLB": {"enabled": True},
            "nodePort": {"enabled": False},
            "externalIPs": {"enabled": False},
            "hostPort": {"enabled": False},
        },
    }


def _cni_file(state: AgentState) -> dict[str, str]:
    if state.cni_conf is None:
        return {"state": "Disabled", "msg": "not written yet"}
    return {"state": "Ok", "msg": f"successfully wrote CNI configuration file to {state.cni_conf}"}


def _ipam(state: AgentState) -> dict[str, Any]:
    pool, words = state.pool, []
    allocations = {str(a): owner for a, owner in pool.dump().items()} if pool is not None else {}
    families = (("IPv4", pool.v4), ("IPv6", pool.v6)) if pool is not None else ()
    for name, family in families:
        if family is not None:
            used, capacity = family.used + 1, family.capacity + 1  # the router's included
            words.append(f"{name}: {used}/{capacity} allocated from {family.network}, ")
    return {
        "ipv4": [text for text in allocations if ":" not in text],
        "ipv6": [text for text in allocations if ":" in text],
        "allocations": allocations,
        "status": "".join(words),
    }


def _cluster(state: AgentState) -> dict[str, Any]:
    cluster = state.settings.cluster_name
    names = [state.settings.node_name, *state.remote_nodes]
    return {
        "self": f"{cluster}/{state.settings.node_name}",
        "nodes": [{"name": f"{cluster}/{name}"} for name in names],
        "ciliumHealth": {"state": "Disabled", "msg": ""},
    }


def _masquerading(state: AgentState) -> dict[str, Any]:
    settings = state.settings
    v4 = settings.enable_ipv4 and settings.masquerade_ipv4
    v6 = settings.enable_ipv6 and settings.masquerade_ipv6
    return {
        "enabled": v4 or v6,
        "mode": "nftables",
        "enabledProtocols": {"ipv4": v4, "ipv6": v6},
    }
