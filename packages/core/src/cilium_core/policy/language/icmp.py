# SPDX-License-Identifier: Apache-2.0
"""icmps: message types of ICMP and ICMPv6, by number or by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.rules import PortRange, Protocol

MOST_FIELDS = 40
LAST_TYPE = 255
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")

TYPES_V4 = {
    "EchoReply": 0,
    "DestinationUnreachable": 3,
    "Redirect": 5,
    "Echo": 8,
    "EchoRequest": 8,
    "RouterAdvertisement": 9,
    "RouterSelection": 10,
    "TimeExceeded": 11,
    "ParameterProblem": 12,
    "Timestamp": 13,
    "TimestampReply": 14,
    "Photuris": 40,
    "ExtendedEchoRequest": 42,
    "ExtendedEchoReply": 43,
}
TYPES_V6 = {
    "DestinationUnreachable": 1,
    "PacketTooBig": 2,
    "TimeExceeded": 3,
    "ParameterProblem": 4,
    "EchoRequest": 128,
    "EchoReply": 129,
    "MulticastListenerQuery": 130,
    "MulticastListenerReport": 131,
    "MulticastListenerDone": 132,
    "RouterSolicitation": 133,
    "RouterAdvertisement": 134,
    "NeighborSolicitation": 135,
    "NeighborAdvertisement": 136,
    "RedirectMessage": 137,
    "RouterRenumbering": 138,
    "ICMPNodeInformationQuery": 139,
    "ICMPNodeInformationResponse": 140,
    "InverseNeighborDiscoverySolicitation": 141,
    "InverseNeighborDiscoveryAdvertisement": 142,
    "HomeAgentAddressDiscoveryRequest": 144,
    "HomeAgentAddressDiscoveryReply": 145,
    "MobilePrefixSolicitation": 146,
    "MobilePrefixAdvertisement": 147,
    "DuplicateAddressRequestCodeSuffix": 157,
    "DuplicateAddressConfirmationCodeSuffix": 158,
    "ExtendedEchoRequest": 160,
    "ExtendedEchoReply": 161,
}
_FAMILIES = {"IPv4": (Protocol.ICMP, TYPES_V4), "IPv6": (Protocol.ICMPV6, TYPES_V6)}


def icmp_types(field: Field) -> Iterator[PortRange]:
    """Yield the types in one element of `icmps`; a type stands where ports have their number."""
    members = field.members(("fields",))
    if "fields" not in members:
        return
    items = members["fields"].items()
    if len(items) > MOST_FIELDS:
        members["fields"].refuse(f"{len(items)} types; {MOST_FIELDS} are the most")
    for item in items:
        found = _type(item)
        if found:
            yield found


def _type(field: Field) -> PortRange | None:
    if not field.is_object():
        return None
    members = field.members(("family", "type"))
    if "type" not in members:
        field.refuse_member("type", "is needed: a number from 0 to 255 or a name")
        return None
    family = members["family"].choice(list(_FAMILIES)) if "family" in members else "IPv4"
    if family is None:
        return None
    protocol, names = _FAMILIES[family]
    number = _number(members["type"], family, names)
    return None if number is None else PortRange(protocol, number, number)


def _number(field: Field, family: str, names: dict[str, int]) -> int | None:
    if not isinstance(field.value, str):
        return field.integer(0, LAST_TYPE)
    if field.value in names:
        return names[field.value]
    if _NUMBER.fullmatch(field.value) and int(field.value) <= LAST_TYPE:
        return int(field.value)
    field.refuse(
        f"{shown(field.value)} is no type of ICMP over {family}; "
        f"use 0 to {LAST_TYPE}, or a name such as EchoRequest"
    )
    return None
