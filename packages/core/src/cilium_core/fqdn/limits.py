# SPDX-License-Identifier: Apache-2.0
"""How much is remembered of DNS answers, under the names of upstream's settings. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of the room. Seconds and counts.

    `min_ttl` (`tofqdns-min-ttl`) lengthens shorter answers. `per_name`
    (`tofqdns-endpoint-max-ip-per-hostname`) is for an endpoint and a name, once for addresses that
    still have a TTL and once for those kept for connections. `deferred`
    (`tofqdns-max-deferred-connection-deletes`) is for all of an endpoint's kept addresses.
    `idle_grace` (`tofqdns-idle-connection-grace-period`) is how long a connection may be silent
    and still keep its address. Two are ours, against answers that are made to fill memory:
    `longest_ttl` shortens longer answers (a week, as RFC 8767 advises), `pairs` is for all
    addresses with a TTL of all names of an endpoint.
    """

    min_ttl: float = 0
    per_name: int = 1000
    deferred: int = 10_000
    idle_grace: float = 0
    longest_ttl: float = 604_800
    pairs: int = 50_000
