# SPDX-License-Identifier: Apache-2.0
"""The resources that Envoy shall have, and what it said of them. Event loop only.

A resource that Envoy refuses gives way to the last one that it took, so that an Envoy which starts
later gets what the one before it worked with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cilium_proxy.translate.messages import Resource


class Answer(NamedTuple):
    """Envoy's word on one version of a resource; `error` is empty when it was taken."""

    type_url: str
    name: str
    version: str
    error: str = ""


class Table:
    """Wanted resources by type and name. `ready` says that they are known at all."""

    def __init__(self) -> None:
        """Start with nothing known; Envoy is told nothing before `ready`."""
        self.ready = False
        self.on_answer: Callable[[Answer], None] = lambda _: None
        self.on_change: list[Callable[[], None]] = []
        self._wanted: dict[str, dict[str, Resource]] = defaultdict(dict)
        self._taken: dict[tuple[str, str], Resource] = {}

    def wanted(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of a type by name."""
        return self._wanted[type_url]

    def put(self, type_url: str, resource: Resource) -> None:
        """Want this resource; `changed` makes it known."""
        self._wanted[type_url][resource.name] = resource

    def remove(self, type_url: str, name: str) -> None:
        """Want no resource of this name any more."""
        self._wanted[type_url].pop(name, None)
        self._taken.pop((type_url, name), None)

    def changed(self) -> None:
        """Have every stream look at what it owes Envoy."""
        for wake in self.on_change:
            wake()

    def taken(self, type_url: str, name: str, version: str) -> bool:
        """Say whether Envoy took this version last."""
        resource = self._taken.get((type_url, name))
        return resource is not None and resource.version == version

    def answered(self, answer: Answer) -> None:
        """Note what Envoy said, and pass it on."""
        key = (answer.type_url, answer.name)
        resource = self._wanted[answer.type_url].get(answer.name)
        if resource is not None and resource.version == answer.version:
            if not answer.error:
                self._taken[key] = resource
            elif key in self._taken:
                self._wanted[answer.type_url][answer.name] = self._taken[key]
            else:
                del self._wanted[answer.type_url][answer.name]
        self.on_answer(answer)
