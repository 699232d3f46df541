# SPDX-License-Identifier: Apache-2.0
"""Who and what events are about, as plain immutable values: they are interned by the store."""

from __future__ import annotations

from typing import NamedTuple


class Workload(NamedTuple):
    """The controller that a pod belongs to."""

    kind: str
    name: str


class Party(NamedTuple):
    """One end of a flow, as known when the event came in.

    `endpoint_id` is 0 for those who are not on this node; `labels` are `source:key=value`, sorted.
    """

    endpoint_id: int = 0
    identity: int = 0
    cluster: str = ""
    namespace: str = ""
    pod: str = ""
    labels: tuple[str, ...] = ()
    workload: Workload | None = None


class ServiceName(NamedTuple):
    """A load-balanced service."""

    namespace: str
    name: str


class Origin(NamedTuple):
    """The object that a rule is from; `field` is the rule's path inside it."""

    kind: str
    namespace: str
    name: str
    field: str = ""


class Node(NamedTuple):
    """This node. `labels` are `key=value`, sorted."""

    name: str = ""
    cluster: str = "default"
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that flows carry: `cluster/node`."""
        return f"{self.cluster}/{self.name}"
