# SPDX-License-Identifier: Apache-2.0
"""Lists of ports as Cilium's kinds write them: numbers, ranges, names, protocols. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.language.icmp import LAST_TYPE
from cilium_core.policy.rules import ALL_PORTS, WITH_PORTS, PortRange, Protocol

MOST_PORTS = 40
LAST_PORT = ALL_PORTS[1]
LONGEST_NAME = 15
PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPV6", "ANY", "VRRP", "IGMP")

_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_NAME = re.compile(r"(?=[0-9-]*[A-Za-z])[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_WHAT = "use 0 (every port) to 65535, or the name of a container port"


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of a list of ports as it was written; `ports` is its first and last number."""

    field: Field
    protocol: Protocol
    ports: tuple[int, int] = ALL_PORTS
    name: str = ""

    @property
    def every_port(self) -> bool:
        """Tell whether it speaks of all ports of its protocol."""
        return not self.name and self.ports == ALL_PORTS

    def ranges(self, of_any: Collection[Protocol] = WITH_PORTS) -> list[PortRange]:
        """Return it as ranges; the protocol ANY is written out as `of_any`."""
        protocols = of_any if self.protocol is Protocol.ANY else (self.protocol,)
        return [PortRange(one, *self.ports, self.name) for one in protocols]


def port_list(field: Field) -> list[Port]:
    """Return the ports of one toPorts element."""
    items = field.items()
    if len(items) > MOST_PORTS:
        field.refuse(f"{len(items)} ports; {MOST_PORTS} are the most")
    return [one for item in items if (one := _entry(item))]


def port_name(field: Field, text: str, what: str = _WHAT) -> str | None:
    """Return the name of a port in small letters; `what` tells the user what could stand here."""
    if len(text) <= LONGEST_NAME and _NAME.fullmatch(text):
        return text.lower()
    field.refuse(f"{shown(text)} is no port; {what} (up to {LONGEST_NAME} letters, digits, '-')")
    return None


def _entry(field: Field) -> Port | None:
    if not field.is_object():
        return None
    members = field.members(("port", "endPort", "protocol"))
    if not {"port", "protocol"} & set(members):
        field.refuse("a port (0 for every port) or a protocol is needed")
        return None
    protocol = _protocol(members.get("protocol"))
    name, ports = _port(members.get("port"))
    if ports and "endPort" in members:
        ports = _range(members["endPort"], name, ports)
    if protocol is None or ports is None:
        return None
    port = Port(field, protocol, ports, name)
    return port if _fits(members, port) else None


def _protocol(field: Field | None) -> Protocol | None:
    if field is None or field.value == "":
        return Protocol.ANY
    word = field.text()
    if word is None:
        return None
    if word.upper() not in PROTOCOLS:
        field.choice(PROTOCOLS)
        return None
    return Protocol[word.upper()]


def _port(field: Field | None) -> tuple[str, tuple[int, int] | None]:
    if field is None:
        return "", ALL_PORTS
    text = field.filled()
    if text is None:
        return "", None
    if not text.isdecimal():
        name = port_name(field, text)
        return name or "", ALL_PORTS if name else None
    if not _NUMBER.fullmatch(text) or int(text) > LAST_PORT:
        field.refuse(f"{shown(text)} is no port; {_WHAT}")
        return "", None
    number = int(text)
    return "", (number, number) if number else ALL_PORTS


def _range(field: Field, name: str, ports: tuple[int, int]) -> tuple[int, int] | None:
    end = field.integer(0, LAST_PORT)
    if not end:
        return None if end is None else ports  # 0 is as good as absent
    if name or ports == ALL_PORTS:
        field.refuse("only beside a port that is a number, and not 0")
    elif end < ports[0]:
        field.refuse(f"{end} is before the port {ports[0]}")
    else:
        return ports[0], end
    return None


def _fits(members: dict[str, Field], port: Port) -> bool:
    protocol = port.protocol
    if protocol in (Protocol.ANY, *WITH_PORTS) or port.every_port:
        return True
    if protocol in (Protocol.IGMP, Protocol.VRRP):
        members["port"].refuse(f"{protocol.name} has no ports; leave it out, or use 0")
    elif port.name:
        members["port"].refuse(f"beside {protocol.name} the type of the message stands here")
    elif port.ports[1] > LAST_TYPE:
        where = members.get("endPort") or members["port"]
        where.refuse(f"a type of {protocol.name} goes up to {LAST_TYPE}")
    else:
        return True
    return False
