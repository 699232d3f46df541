# SPDX-License-Identifier: Apache-2.0
"""Many different tries at once: a JSON list in, a JSON list of outcomes out, in the same order.

An element is `{"kind": "tcp", "target": "10.0.0.7:7000"}` and may have `id` (any JSON value, given
back), `timeout` in seconds, `size` in bytes (not dns) and `family` (dns only). At most `LIMIT`
tries are open at a time, on one asyncio loop.
"""

import asyncio
import json
from typing import Any

from e2e.probe import clients
from e2e.probe.errors import TargetError
from e2e.probe.outcome import split_target

LIMIT = 512
_OPTIONS = {"timeout", "size", "family"}


async def run(text: str, within: float) -> list[dict[str, Any]]:
    """Try every element; `within` seconds hold for those without their own.

    A list that cannot be read is a `TargetError` that names the element, before anything is tried.
    """
    try:
        elements = json.loads(text)
    except ValueError as error:
        raise TargetError(f"the matrix is not JSON: {error}") from error
    if not isinstance(elements, list):
        raise TargetError("the matrix must be a JSON list")
    for number, element in enumerate(elements):
        _check(number, element)
    gate = asyncio.Semaphore(LIMIT)

    async def one(element: dict[str, Any]) -> dict[str, Any]:
        options = {k: element[k] for k in ("size", "family") if k in element}
        async with gate:
            outcome = await clients.KINDS[element["kind"]](
                element["target"], within=element.get("timeout", within), **options
            )
        result = outcome.as_json()
        return {"id": element["id"], **result} if "id" in element else result

    return list(await asyncio.gather(*(one(element) for element in elements)))


def _check(number: int, element: Any) -> None:
    if not isinstance(element, dict):
        raise TargetError(f"element {number} is not an object")
    if element.get("kind") not in clients.KINDS:
        raise TargetError(f"element {number}: kind must be one of {', '.join(clients.KINDS)}")
    if not isinstance(element.get("target"), str):
        raise TargetError(f"element {number}: target must be a string")
    unknown = element.keys() - _OPTIONS - {"kind", "target", "id"}
    if unknown:
        raise TargetError(f"element {number}: unknown member {min(unknown)}")
    if element["kind"] in ("tcp", "udp"):
        split_target(element["target"])
