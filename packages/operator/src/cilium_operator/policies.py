# SPDX-License-Identifier: Apache-2.0
"""Says in each Cilium policy's status whether it can be enforced: the condition Valid.

The judgement is the agents' own parser's, so that what is called valid here is what they take.
The condition is patched only when it says something new, guarded by the object's version; other
conditions stay as they are. One worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec

from cilium_core.crds.models import PolicyCondition
from cilium_core.policy.available import hints, unavailable
from cilium_core.policy.language import parse, problems
from cilium_operator.errors import ApiError

T = TypeVar("T")
GROUP = "/apis/cilium.io/v2"
KINDS = {
    "CiliumNetworkPolicy": "ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies",
}
TYPE = "Valid"
CLUSTER = "default"  # whether a policy is valid does not depend on the cluster's name
SHOWN = 3  # problems in one message


class Api(Protocol):
    """The requests that are needed."""

    async def find(self, path: str, kind: type[T]) -> T | None: ...

    async def patch(self, path: str, body: Any) -> bytes: ...


def key_of(body: Mapping[str, Any]) -> str:
    """Return the queue's name of a policy object: `Kind/namespace/name`."""
    meta = body["metadata"]
    return f"{body['kind']}/{meta.get('namespace', '')}/{meta['name']}"


def path_of(key: str) -> str:
    """Return the API path of a queue's name."""
    kind, namespace, name = key.split("/", 2)
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{GROUP}{scope}/{KINDS[kind]}/{name}"


def condition(body: Mapping[str, Any], now: datetime) -> PolicyCondition:
    """Judge a policy object."""
    found = problems(body)
    policies = [] if found else parse(body, CLUSTER)
    found = found or unavailable(policies)
    if not found:
        text, status = "; ".join(["Policy validation succeeded", *hints(policies)]), "True"
    else:
        more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
        text = "; ".join(str(problem) for problem in found[:SHOWN]) + more
        status = "False"
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return PolicyCondition(type=TYPE, status=status, message=text, last_transition_time=stamp)


def patch_for(body: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """Return the status patch that a policy object needs, None when its status says it already."""
    wanted = condition(body, now)
    listed = ((body.get("status") or {}).get("conditions")) or []
    held = next((entry for entry in listed if entry.get("type") == TYPE), None)
    if held is not None:
        if held.get("status") == wanted.status and held.get("message", "") == wanted.message:
            return None
        if held.get("status") == wanted.status:
            wanted.last_transition_time = held.get("lastTransitionTime", "")
    others = [entry for entry in listed if entry.get("type") != TYPE]
    return {
        "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
        "status": {"conditions": [*others, msgspec.to_builtins(wanted)]},
    }


async def sync(api: Api, key: str) -> None:
    """Look at one policy and say in its status what was found. ApiError, aiohttp's errors."""
    body = await api.find(path_of(key), dict)
    if body is None:
        return
    patch = patch_for(body, datetime.now(UTC))
    if patch is None:
        return
    try:
        await api.patch(f"{path_of(key)}/status", patch)
    except ApiError as error:
        # The event of the change that came between brings the policy here again.
        if not (error.conflict or error.not_found):
            raise
