# SPDX-License-Identifier: Apache-2.0
"""What a host-side link says of itself in its alias: that it is ours, and whose it is. Pure.

`cilium-agent uid=<pod's uid> interface=eth0 pod=<namespace>/<name> netns=<path>`: the mark tells
our links from those of another CNI that names them alike, the rest rebuilds an endpoint whose row
is lost. Where a name is too long for the kernel, the uid alone still tells who the pod is.
"""

from __future__ import annotations

from dataclasses import dataclass

from cilium_agent.model import Endpoint

MARK = "cilium-agent"
LIMIT = 254  # bytes that the kernel takes, next to the zero that ends them


@dataclass(frozen=True, slots=True)
class Description:
    """Whose a link is; what an alias leaves out is empty."""

    pod_uid: str = ""
    interface: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    netns: str = ""


def alias_of(endpoint: Endpoint) -> str:
    """Return the alias of the endpoint's host-side link, without the parts that find no room."""
    owner = f"{MARK} uid={endpoint.pod_uid} interface={endpoint.interface}"
    pod = f" pod={endpoint.pod_namespace}/{endpoint.pod_name}"
    netns = f" netns={endpoint.netns}"
    longest_first = (owner + pod + netns, owner + netns, owner, MARK)
    return next(alias for alias in longest_first if len(alias.encode()) <= LIMIT)


def is_marked(alias: str) -> bool:
    """Tell whether a link with this alias was made by us."""
    return alias.split(" ", 1)[0] == MARK


def parse(alias: str) -> Description:
    """Return what an alias says; all empty when it is not one of ours."""
    if not is_marked(alias):
        return Description()
    words, _, netns = alias.partition(" netns=")  # the last part, since a path may hold blanks
    parts = dict(word.split("=", 1) for word in words.split(" ")[1:] if "=" in word)
    namespace, _, name = parts.get("pod", "").partition("/")
    return Description(
        pod_uid=parts.get("uid", ""),
        interface=parts.get("interface", ""),
        pod_namespace=namespace,
        pod_name=name,
        netns=netns,
    )
