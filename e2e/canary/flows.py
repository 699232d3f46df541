# SPDX-License-Identifier: Apache-2.0
"""Which flows the canary sends: where, how often and over what. Pure data.

The rates together keep sender and receivers under a twentieth of one core.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from e2e.canary.errors import CanaryError

RATES = {
    "tcp-held": 10.0,
    "udp": 10.0,
    "tcp-new": 2.0,
    "http": 2.0,
    "service": 2.0,
    "service-udp": 2.0,
    "dns": 2.0,
    "shut-tcp": 1.0,
    "shut-udp": 1.0,
}
# What policy forbids: an answer, ever, is the failure.
SHUT = frozenset({"shut-tcp", "shut-udp"})
ECHO_PORT = 7000
HTTP_PORT = 8080


@dataclass(frozen=True)
class Flow:
    """One flow: `kind` as in RATES, `place` is near (same node) or far, `family` 4 or 6.

    The target is `host:port` for tcp and udp, an http:// URL, or `name@server` for dns.
    """

    kind: str
    place: str
    family: int
    target: str

    @property
    def name(self) -> str:
        """A name that is unique among the flows."""
        return f"{self.kind} {self.place} v{self.family}"


def host(address: str) -> str:
    """An address as the host part of a target: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def plan(
    places: Mapping[str, Sequence[str]],
    shut: Mapping[str, Sequence[str]],
    services: Sequence[str],
    dns: Sequence[str],
    name: str,
) -> list[Flow]:
    """The flows to pods (`places`: place → its addresses), Service addresses and DNS servers.

    `shut` are the places that policy forbids, `name` is what DNS is asked for.
    """
    flows = []
    for place, addresses in shut.items():
        for address in addresses:
            family = 6 if ":" in address else 4
            for kind in sorted(SHUT):
                flows.append(Flow(kind, place, family, f"{host(address)}:{ECHO_PORT}"))
    for place, addresses in places.items():
        for address in addresses:
            family = 6 if ":" in address else 4
            for kind in ("tcp-held", "udp", "tcp-new"):
                flows.append(Flow(kind, place, family, f"{host(address)}:{ECHO_PORT}"))
            url = f"http://{host(address)}:{HTTP_PORT}/"
            flows.append(Flow("http", place, family, url))
    for address in services:
        family = 6 if ":" in address else 4
        flows.append(Flow("service", "far", family, f"http://{host(address)}:{HTTP_PORT}/"))
        flows.append(Flow("service-udp", "far", family, f"{host(address)}:{ECHO_PORT}"))
    for address in dns:
        flows.append(Flow("dns", "cluster", 6 if ":" in address else 4, f"{name}@{address}"))
    return flows


def encode(flows: Sequence[Flow]) -> str:
    """The flows as the sender reads them from CANARY_FLOWS."""
    return json.dumps([asdict(flow) for flow in flows])


def decode(text: str) -> list[Flow]:
    """The flows of CANARY_FLOWS; a CanaryError names what is wrong."""
    try:
        flows = [Flow(**element) for element in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise CanaryError(f"CANARY_FLOWS is not a list of flows: {error}") from error
    for flow in flows:
        if flow.kind not in RATES:
            raise CanaryError(f"CANARY_FLOWS: kind {flow.kind!r} is none of {', '.join(RATES)}")
    return flows
