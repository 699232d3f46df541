# SPDX-License-Identifier: Apache-2.0
"""Registers the CustomResourceDefinitions at start and waits until the server serves them.

A definition of the same or a newer schema version is left alone, so that an older operator
that is rolled out beside a newer one takes nothing back. Runs once, before anything watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import structlog

from cilium_core.crds.definitions import SCHEMA_VERSION_LABEL, definitions
from cilium_operator.errors import ApiError

T = TypeVar("T")
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ESTABLISH_SECONDS = 60.0
log = structlog.get_logger("cilium_operator.crds")


class Api(Protocol):
    """The requests that are needed."""

    async def find(self, path: str, kind: type[T]) -> T | None: ...

    async def create(self, path: str, body: Any) -> bytes: ...

    async def replace(self, path: str, body: Any) -> bytes: ...


def schema_version(definition: dict[str, Any]) -> tuple[int, ...]:
    """Return the schema version of a definition; (0,) when it has none that can be read."""
    label = (definition["metadata"].get("labels") or {}).get(SCHEMA_VERSION_LABEL, "")
    parts = label.split(".")
    return tuple(int(part) for part in parts) if all(p.isdecimal() for p in parts) else (0,)


async def register(api: Api, wanted: Iterable[dict[str, Any]] | None = None) -> None:
    """Create or upgrade each definition and wait until all are established."""
    bodies = list(definitions() if wanted is None else wanted)
    for body in bodies:
        await _register_one(api, body)
    await wait_established(api, [body["metadata"]["name"] for body in bodies])


async def wait_established(api: Api, names: Iterable[str]) -> None:
    """Wait until the server serves the named definitions. TimeoutError after a minute."""
    try:
        async with asyncio.timeout(ESTABLISH_SECONDS):
            for name in names:
                while True:
                    if _established(await api.find(f"{PATH}/{name}", dict)):
                        break
                    await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise TimeoutError(f"CustomResourceDefinition {name} was not established") from error


async def _register_one(api: Api, body: dict[str, Any]) -> None:
    name = body["metadata"]["name"]
    while True:
        existing = await api.find(f"{PATH}/{name}", dict)
        try:
            if existing is None:
                await api.create(PATH, body)
                log.info("created definition", name=name)
            elif schema_version(existing) < schema_version(body):
                await api.replace(f"{PATH}/{name}", _merged(existing, body))
                log.info("upgraded definition", name=name)
            return
        except ApiError as error:
            if not error.conflict:
                raise


def _merged(existing: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(existing["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), **body["metadata"]["labels"]}
    return {**body, "metadata": metadata}


def _established(definition: dict[str, Any] | None) -> bool:
    conditions = ((definition or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
