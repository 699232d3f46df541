# SPDX-License-Identifier: Apache-2.0
"""A question: may this end reach that one, on this port, with this request? Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cilium_core.errors import FieldError
from cilium_core.policy.language.fields import Field, one_of
from cilium_core.policy.language.icmp import LAST_TYPE, TYPES_V4, TYPES_V6
from cilium_core.policy.language.kafka import API_KEYS
from cilium_core.policy.language.ports import LAST_PORT
from cilium_core.policy.requests import Request
from cilium_core.policy.rules import WITH_PORTS, L7Kind, Protocol

PROTOCOLS = tuple(name for name in Protocol.__members__ if name != "ANY")
LAST_PROTOCOL = 255
_ICMP = (Protocol.ICMP, Protocol.ICMPV6)


class Probe(NamedTuple):
    """`source` and `target` are ends in the user's words; `port` is 0 for protocols without.

    For ICMP, `port` or else `icmp_name` is the type, and towards an IPv6 address it is ICMPv6.
    """

    source: str
    target: str
    protocol: int
    port: int = 0
    icmp_name: str = ""
    request: Request | None = None

    def over(self, version: int) -> tuple[int, int]:
        """Return protocol and port towards an address of IP version 4 or 6.

        FieldError for a type of ICMP that this version does not have.
        """
        protocol = self.protocol
        if protocol == Protocol.ICMP and version == 6:
            protocol = Protocol.ICMPV6
        if not self.icmp_name:
            return protocol, self.port
        names = TYPES_V6 if protocol == Protocol.ICMPV6 else TYPES_V4
        if self.icmp_name not in names:
            raise FieldError(
                "icmp.type", f"{self.icmp_name!r} is no type of ICMP over IPv{version}"
            )
        return protocol, names[self.icmp_name]


def parse_probe(body: Mapping[str, Any]) -> Probe:
    """Return the probe that an object, as decoded from JSON, asks for.

    Fields are `from`, `to`, `protocol` (TCP), `port`, and one of `icmp` {"type"}, `http` {"method",
    "path", "host", "headers"}, `dns` (a name, or {"query"}), `kafka` {"apiKey", "apiVersion",
    "clientID", "topic"} and `sni` (a name). FieldError for the first that is wrong.
    """
    errors: list[FieldError] = []
    members = Field(body, "", errors).members(
        ("from", "to", "port", "protocol", "icmp", *_REQUESTS)
    )
    for name in ("from", "to"):
        if name not in members:
            errors.append(FieldError(name, "is needed: ns/pod, ip:…, node:…, entity:…"))
    source, target = (members[n].filled() if n in members else "" for n in ("from", "to"))
    protocol = _protocol(members, errors)
    port, icmp_name = 0, ""
    if protocol in _ICMP:
        port, icmp_name = _type(members, errors)
    elif protocol in WITH_PORTS:
        port = _number(members.get("port"), "port", LAST_PORT, errors)
    request = _request(members)
    if errors:
        raise errors[0]
    return Probe(source or "", target or "", protocol, port, icmp_name, request)


def _protocol(members: Mapping[str, Field], errors: list[FieldError]) -> int:
    if "protocol" not in members:
        return Protocol.ICMP if "icmp" in members else Protocol.TCP
    value = members["protocol"].value
    if isinstance(value, str) and not value.isdecimal():
        word = Field(value.upper(), "protocol", errors).choice(PROTOCOLS)
        return Protocol[word] if word else 0
    return _number(members["protocol"], "protocol", LAST_PROTOCOL, errors)


def _type(members: Mapping[str, Field], errors: list[FieldError]) -> tuple[int, str]:
    field = members["icmp"].members(("type",)).get("type") if "icmp" in members else None
    if field and isinstance(field.value, str) and not field.value.isdecimal():
        return 0, field.choice({**TYPES_V4, **TYPES_V6}) or ""
    return _number(field, "icmp.type", LAST_TYPE, errors), ""


def _number(field: Field | None, name: str, last: int, errors: list[FieldError]) -> int:
    """Return a number, which may be written as text; 0 with a complaint for anything else."""
    if field is None:
        errors.append(FieldError(name, f"is needed: a number from 0 to {last}"))
        return 0
    value = field.value
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return Field(value, name, errors).integer(0, last) or 0


def _request(members: Mapping[str, Field]) -> Request | None:
    asked = [name for name in _REQUESTS if name in members]
    if not asked:
        return None
    if len(asked) > 1:
        members[asked[1]].refuse(f"only one of {one_of(asked)}")
    kind, read = _REQUESTS[asked[0]]
    return Request(kind, read(members[asked[0]]))


def _http(field: Field) -> dict[str, Any]:
    members = field.members(("method", "path", "host", "headers"))
    found: dict[str, Any] = {"method": "GET", "path": "/"}
    found |= {name: one.text() for name, one in members.items() if name != "headers"}
    headers = members["headers"].entries() if "headers" in members else {}
    found["headers"] = {name.lower(): str(value) for name, value in headers.items()}
    if "host" in found["headers"]:
        found.setdefault("host", found["headers"]["host"])
    return found


def _name(field: Field) -> dict[str, Any]:
    if isinstance(field.value, str):
        return {"name": field.value}
    members = field.members(("query", "name"))
    found = members.get("query") or members.get("name")
    if found is None:
        field.refuse_member("query")
    return {"name": found.text()} if found else {}


def _kafka(field: Field) -> dict[str, Any]:
    members = field.members(("apiKey", "apiVersion", "clientID", "topic"))
    found: dict[str, Any] = {}
    for name, one in members.items():
        found[name] = str(one.value) if isinstance(one.value, int) else one.text()
    key = found.get("apiKey") or ""
    if key.isdecimal() and int(key) < len(API_KEYS):
        key = API_KEYS[int(key)]
    return found | {"apiKey": key.lower()}


_REQUESTS: dict[str, tuple[L7Kind, Callable[[Field], dict[str, Any]]]] = {
    "http": (L7Kind.HTTP, _http),
    "dns": (L7Kind.DNS, _name),
    "kafka": (L7Kind.KAFKA, _kafka),
    "sni": (L7Kind.SNI, _name),
}
