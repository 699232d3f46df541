# SPDX-License-Identifier: Apache-2.0
"""Names that the bootstrap, the resources and the access log agree on. Pure.

A filter chain's name is `port` or `port/detail`: the access log brings it back, so that a record
knows its rule set although all listeners share one logger (a logger per listener would wake every
worker 20 times a second for each).
"""

from __future__ import annotations

from functools import lru_cache

HTTP_CLUSTER = "original-destination-http"
TCP_CLUSTER = "original-destination-tcp"
NOWHERE_CLUSTER = "nowhere"
XDS_CLUSTER = "controller"
ACCESS_LOG_CLUSTER = "access-log"
ADMIN_CLUSTER = "admin"

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

ALLOWED = "allowed"  # names of routes
DENIED = "denied"
REFUSED = "refused"  # the chain for server names that no rule allows
CHAIN_TAG = "chain"
SNI_TAG = "sni"
METHOD_TAG = "method"


def resource(port: int) -> str:
    """Return the name of a rule set's listener and of its routes."""
    return str(port)


def chain(port: int, detail: str = "") -> str:
    """Return the name of a filter chain."""
    return f"{port}/{detail}" if detail else str(port)


@lru_cache(maxsize=4096)
def port_of(name: str) -> int:
    """Return the port in a resource's or a filter chain's name, 0 when there is none."""
    digits = name.partition("/")[0]
    return int(digits) if digits.isdecimal() else 0
