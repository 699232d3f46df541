# SPDX-License-Identifier: Apache-2.0
"""`cilium version`: this command, the images its chart installs, and what runs in the cluster."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

from cilium_cli.errors import CliError
from cilium_cli.helm import chart_version
from cilium_cli.kube.kubeconfig import Access

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def client_text() -> str:
    """Return the lines about this command. The stable release is unknown: none is published."""
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    python = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"cilium-cli: {version('cilium-cli')} compiled with {python} "
        f"on {sys.platform}/{machine}\n"
        f"cilium image (default): v{chart_version()}\n"
        "cilium image (stable): unknown. No release channel is published yet."
    )


def running_text(access: Callable[[], Access], namespace: str) -> str:
    """Return the line about the cluster; a cluster that cannot be asked is a reason, no error."""
    head = "cilium image (running):"
    try:
        return f"{head} {asyncio.run(_running(access(), namespace))}"
    except CliError as error:
        return f"{head} unknown. Unable to obtain cilium version. Reason: {error}"


async def _running(access: Access, namespace: str) -> str:
    from cilium_cli.kube.client import Client
    from cilium_cli.status.objects import DaemonSet

    async with Client(access) as client:
        path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/cilium"
        found = await client.get(path, DaemonSet)
    running = (found.metadata.labels or {}).get("app.kubernetes.io/version")
    if not running:
        raise CliError("DaemonSet cilium has no label app.kubernetes.io/version")
    return running
