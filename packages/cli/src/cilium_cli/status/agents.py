# SPDX-License-Identifier: Apache-2.0
"""What an agent says about itself, turned into findings; pure, from its decoded replies."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from cilium_cli.status.model import AGENT, ENVOY, RELAY, Status

_BAD = frozenset({"warning", "failure"})
_SUBSYSTEMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Cilium", ("cilium",)),
    ("Health", ("cluster", "ciliumHealth")),
    ("Hubble", ("hubble",)),
    ("Kubernetes", ("kubernetes",)),
    ("Kvstore", ("kvstore",)),
    ("AuthCertificateProvider", ("auth-certificate-provider",)),
)

_PROXIES = frozenset({"proxy-envoy", "proxy-controller", "proxy-dns"})


def add_agent_status(status: Status, pod: str, reply: Any, now: datetime) -> None:
    """Record subsystems that are not well and controllers that fail, of `cilium-dbg status`."""
    status.cilium_status[pod] = reply
    for name, path in _SUBSYSTEMS:
        part = reply
        for key in path:
            part = part.get(key) or {} if isinstance(part, dict) else {}
        state = str(part.get("state", "")).lower()
        if state in _BAD:
            text = f"{name}: {part.get('msg', '')}"
            if state == "warning":
                status.warning(AGENT, pod, text)
            else:
                status.error(AGENT, pod, text)
    for controller in reply.get("controllers") or ():
        failing = controller.get("status") or {}
        count = failing.get("consecutive-failure-count") or 0
        if count:
            since = _since(failing.get("last-success-timestamp"), now)
            message = failing.get("last-failure-msg", "")
            name = controller.get("name", "")
            if name in _PROXIES:  # says itself what is dropped, and on which node
                status.error(ENVOY, pod, f"{message} (since {since})")
                continue
            status.error(
                AGENT, pod, f"controller {name} is failing since {since} ({count}x): {message}"
            )


def add_agent_endpoints(status: Status, pod: str, reply: list[Any]) -> None:
    """Record endpoints that are not ready, of `cilium-dbg endpoint list`."""
    status.cilium_endpoints[pod] = reply
    states = [(endpoint.get("status") or {}).get("state", "") for endpoint in reply]
    waiting = sum(state != "ready" for state in states)
    if waiting:
        status.warning(AGENT, pod, f"{waiting} endpoints are not ready")


def add_relay_status(status: Status, pod: str, reply: Any) -> None:
    """Record nodes whose flows a relay lacks, of `hubble status -o json`."""
    lost = int(reply.get("num_unavailable_nodes") or 0)
    if not lost:
        return
    names = sorted(reply.get("unavailable_nodes") or ())
    more = f" and {lost - len(names)} more" if lost > len(names) else ""
    status.warning(
        RELAY,
        pod,
        f"no flows from {lost} nodes: {', '.join(names)}{more}; see the logs of container hubble"
        " there and of hubble-relay (network, certificates)",
    )


def _since(timestamp: str | None, now: datetime) -> str:
    """Return the time since an RFC 3339 timestamp as Go prints a duration (1h2m3s)."""
    if not timestamp or timestamp.startswith("0001-"):
        return "start"
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", timestamp).replace("Z", "+00:00")
    try:
        then = datetime.fromisoformat(trimmed)
    except ValueError:
        return timestamp
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, int((now - then).total_seconds()))
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    text = f"{seconds % 60}s"
    if seconds >= 60:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text
