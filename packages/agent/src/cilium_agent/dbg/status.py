# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg status`: the agent's StatusResponse as upstream's rows. Pure."""

from __future__ import annotations

from typing import Any

from cilium_agent.dbg.tables import labelled

_GOOD = ("ok", "disabled")


def brief(reply: dict[str, Any]) -> tuple[str, int]:
    """Return the one line of `--brief` and the exit code."""
    for name in ("cilium", "kubernetes"):
        part = reply.get(name) or {}
        if str(part.get("state", "")).lower() not in _GOOD:
            return f"error in {name}: {part.get('msg', 'no state')}", 1
    return "OK", 0


def text(reply: dict[str, Any], *, verbose: bool = False) -> str:
    """Return the rows of the full status, in upstream's order."""
    rows = [
        ("KVStore", _state(reply["kvstore"])),
        ("Kubernetes", _state(reply["kubernetes"])),
        ("Kubernetes APIs", _apis(reply["kubernetes"])),
        ("KubeProxyReplacement", _kube_proxy(reply["kube-proxy-replacement"])),
        ("Host firewall", reply["host-firewall"]["mode"]),
        ("SRv6", _switch(reply["srv6"])),
        ("CNI Chaining", reply["cni-chaining"]["mode"]),
        ("CNI Config file", reply["cni-file"]["msg"]),
        ("Cilium", _state(reply["cilium"])),
        ("NodeMonitor", _monitor(reply["nodeMonitor"])),
        ("Cilium health daemon", reply["cluster"]["ciliumHealth"]["state"]),
        ("IPAM", reply["ipam"]["status"]),
        ("ClusterMesh", _mesh(reply["cluster-mesh"])),
        ("IPv4 BIG TCP", _switch(reply["ipv4-big-tcp"])),
        ("IPv6 BIG TCP", _switch(reply["ipv6-big-tcp"])),
        ("BandwidthManager", _switch(reply["bandwidth-manager"])),
        ("Routing", _routing(reply["routing"])),
        ("Attach Mode", reply["attach-mode"]["mode"]),
        ("Device Mode", reply["datapath-mode"]),
        ("Masquerading", _masquerading(reply["masquerading"])),
        ("Clock Source for BPF", reply["clock-source"]["mode"]),
        ("Controller Status", _controllers(reply["controllers"])),
        ("Proxy Status", _proxy(reply["proxy"])),
        ("Global Identity Range", _range(reply["identity-range"])),
        ("Hubble", _hubble(reply)),
        ("Encryption", reply["encryption"]["mode"]),
    ]
    missing = reply.get("features-not-available") or []
    if missing:
        rows.append(("Not available yet", ", ".join(missing)))
    shown = labelled(rows)
    if verbose:
        shown += "\n" + _allocations(reply["ipam"])
    return shown


def _state(part: dict[str, Any]) -> str:
    return f"{part['state']}   {part['msg']}" if part.get("msg") else str(part["state"])


def _switch(part: dict[str, Any]) -> str:
    return "Enabled" if part.get("enabled") else "Disabled"


def _apis(part: dict[str, Any]) -> str:
    names = part.get("k8s-api-versions") or []
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _kube_proxy(part: dict[str, Any]) -> str:
    devices = [" ".join([device["name"], *device["ip"]]) for device in part.get("deviceList") or []]
    return f"{part['mode']}   [{', '.join(devices)}]"


def _mesh(part: dict[str, Any]) -> str:
    clusters = part.get("clusters") or []
    ready = sum(bool(cluster.get("ready")) for cluster in clusters)
    return f"{ready}/{len(clusters)} remote clusters ready"


def _routing(part: dict[str, Any]) -> str:
    mode, tunnel = part["inter-host-routing-mode"], part["tunnel-protocol"]
    network = f"{mode} [{tunnel}]" if tunnel else mode
    return f"Network: {network}   Host: {part['intra-host-routing-mode']}"


def _masquerading(part: dict[str, Any]) -> str:
    if not part["enabled"]:
        return "Disabled"
    words = [
        f"{name}: {'Enabled' if part['enabledProtocols'][key] else 'Disabled'}"
        for name, key in (("IPv4", "ipv4"), ("IPv6", "ipv6"))
    ]
    return f"{part['mode']}   [{', '.join(words)}]"


def _controllers(listed: list[dict[str, Any]]) -> str:
    well = [c for c in listed if not c["status"]["consecutive-failure-count"]]
    return f"{len(well)}/{len(listed)} healthy"


def _range(part: dict[str, Any]) -> str:
    return f"min {part['min-identity']}, max {part['max-identity']}"


def _allocations(part: dict[str, Any]) -> str:
    lines = [f"  {address} ({owner})" for address, owner in part["allocations"].items()]
    return "\n".join(["Allocated addresses:", *lines])


def _proxy(part: dict[str, Any]) -> str:
    if part["state"] == "Disabled":
        return "No managed proxy redirect"
    word = "OK" if part["state"] == "Ok" else str(part["state"])
    told = (
        f"{word}, ip {part['ip']}, {part['total-redirects']} redirects active on ports "
        f"{part['port-range']}, Envoy: {part['envoy-deployment-mode']}"
    )
    return f"{told}   {part['msg']}" if part["msg"] else told


def _monitor(section: dict[str, Any]) -> str:
    if section["state"] != "Ok":
        return str(section["state"])
    shared = f"{section['npages']}x{section['pagesize']} of shared memory"
    return f"Listening for events on {section['cpus']} CPUs with {shared}"


def _hubble(reply: dict[str, Any]) -> str:
    section = reply["hubble"]
    observer = section.get("observer")
    if observer is None:
        return f"{section['state']}   {section.get('msg', '')}".rstrip()
    current, most = observer["current-flows"], observer["max-flows"]
    seconds = max(observer["uptime"] / 1e9, 1e-9)
    return (
        f"{section['state']}   Current/Max Flows: {current}/{most} ({100 * current / most:.2f}%),"
        f" Flows/s: {observer['seen-flows'] / seconds:.2f}"
        f"   Metrics: {reply['hubble-metrics']['state']}"
    )
