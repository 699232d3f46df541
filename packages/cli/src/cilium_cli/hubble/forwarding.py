# SPDX-License-Identifier: Apache-2.0
"""`cilium hubble port-forward`: relay's port on this machine, for `hubble observe`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import msgspec

from cilium_cli.errors import ApiError, CliError
from cilium_cli.kube.client import Client
from cilium_cli.kube.forward import listen
from cilium_cli.kube.kubeconfig import Access

SELECTOR = "k8s-app=hubble-relay"
DEPLOYMENT = "hubble-relay"
RELAY_PORT = 4245


class _Meta(msgspec.Struct):
    name: str


class _Named(msgspec.Struct):
    metadata: _Meta


class _Condition(msgspec.Struct):
    type: str
    status: str = ""


class _Status(msgspec.Struct):
    conditions: list[_Condition] = []


class _Pod(msgspec.Struct):
    metadata: _Meta
    status: _Status = msgspec.field(default_factory=_Status)


def run_port_forward(access: Access, namespace: str, port: int) -> None:
    """Forward until interrupted."""
    try:
        asyncio.run(forward(access, namespace, port))
    except KeyboardInterrupt:
        return


async def forward(access: Access, namespace: str, port: int) -> None:
    """Lead `port` of this machine to a relay that is ready, asked for at each connection.

    CliError when there is none at the start, or the port is taken.
    """
    async with Client(access) as client:

        async def opener() -> aiohttp.ClientWebSocketResponse[Any]:
            return await client.port_forward(namespace, await _ready(client, namespace), RELAY_PORT)

        await _ready(client, namespace)
        server = await listen(port, opener, lambda text: print(f"Error: {text}", file=sys.stderr))
        async with server:
            print(f"Hubble Relay is at localhost:{port}; Ctrl-C ends this.", flush=True)
            await server.serve_forever()


async def _ready(client: Client, namespace: str) -> str:
    """Return the name of a relay pod that is ready."""
    pods = await client.list(f"/api/v1/namespaces/{namespace}/pods", _Pod, selector=SELECTOR)
    for pod in pods:
        if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions):
            return pod.metadata.name
    if pods:
        raise CliError("Hubble Relay is not ready; see cilium status")
    try:
        await client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{DEPLOYMENT}", _Named)
    except ApiError as error:
        if error.status != 404:
            raise
        raise CliError(
            "Hubble Relay is not there; set hubble.relay.enabled=true and cilium upgrade"
        ) from error
    raise CliError(
        f"Deployment {DEPLOYMENT} has no ready pod; see cilium status, and scale it up if it is "
        f"scaled to 0: kubectl -n {namespace} scale deployment {DEPLOYMENT} --replicas=1"
    )
