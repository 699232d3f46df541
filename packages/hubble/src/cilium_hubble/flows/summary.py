# SPDX-License-Identifier: Apache-2.0
"""A line on the packet in upstream's words: `TCP Flags: SYN, ACK`, `ICMPv4 EchoRequest`. Pure."""

from __future__ import annotations

TCP, UDP, SCTP, ICMP, ICMPV6, IGMP, VRRP = 6, 17, 132, 1, 58, 2, 112
_OTHERS = {UDP: "UDP", SCTP: "SCTP", IGMP: "IGMP", VRRP: "VRRP"}

# Bits of the TCP header's flag byte, in the order in which they are printed.
TCP_FLAGS = (
    ("SYN", 0x02),
    ("ACK", 0x10),
    ("RST", 0x04),
    ("FIN", 0x01),
    ("PSH", 0x08),
    ("URG", 0x20),
    ("ECE", 0x40),
    ("CWR", 0x80),
)

_UNREACHABLE_V4 = [
    "Net",
    "Host",
    "Protocol",
    "Port",
    "FragmentationNeeded",
    "SourceRoutingFailed",
    "NetUnknown",
    "HostUnknown",
    "SourceIsolated",
    "NetAdminProhibited",
    "HostAdminProhibited",
    "NetTOS",
    "HostTOS",
    "CommAdminProhibited",
    "HostPrecedence",
    "PrecedenceCutoff",
]
_ICMPV4: dict[int, tuple[str, list[str]]] = {
    0: ("EchoReply", []),
    3: ("DestinationUnreachable", _UNREACHABLE_V4),
    4: ("SourceQuench", []),
    5: ("Redirect", ["Net", "Host", "TOS+Net", "TOS+Host"]),
    8: ("EchoRequest", []),
    9: ("RouterAdvertisement", []),
    10: ("RouterSolicitation", []),
    11: ("TimeExceeded", ["TTLExceeded", "FragmentReassemblyTimeExceeded"]),
    12: ("ParameterProblem", ["PointerIndicatesError", "MissingOption", "BadLength"]),
    13: ("TimestampRequest", []),
    14: ("TimestampReply", []),
    15: ("InfoRequest", []),
    16: ("InfoReply", []),
    17: ("AddressMaskRequest", []),
    18: ("AddressMaskReply", []),
}
_UNREACHABLE_V6 = [
    "NoRouteToDst",
    "AdminProhibited",
    "BeyondScopeOfSrc",
    "AddressUnreachable",
    "PortUnreachable",
    "SrcAddressFailedPolicy",
    "RejectRouteToDst",
]
_ICMPV6: dict[int, tuple[str, list[str]]] = {
    1: ("DestinationUnreachable", _UNREACHABLE_V6),
    2: ("PacketTooBig", []),
    3: ("TimeExceeded", ["HopLimitExceeded", "FragmentReassemblyTimeExceeded"]),
    4: (
        "ParameterProblem",
        ["ErroneousHeaderField", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"],
    ),
    128: ("EchoRequest", []),
    129: ("EchoReply", []),
    130: ("MLDv1MulticastListenerQueryMessage", []),
    131: ("MLDv1MulticastListenerReportMessage", []),
    132: ("MLDv1MulticastListenerDoneMessage", []),
    133: ("RouterSolicitation", []),
    134: ("RouterAdvertisement", []),
    135: ("NeighborSolicitation", []),
    136: ("NeighborAdvertisement", []),
    137: ("Redirect", []),
    143: ("MLDv2MulticastListenerReportMessageV2", []),
}


def tcp_flags(flags: int) -> str:
    """Return the set flags' names, comma separated."""
    return ", ".join(name for name, bit in TCP_FLAGS if flags & bit)


def icmp(kind: int, code: int, *, ipv6: bool) -> str:
    """Return the words of an ICMP message: `EchoRequest`, `DestinationUnreachable(Port)`."""
    known = (_ICMPV6 if ipv6 else _ICMPV4).get(kind)
    if known is None:
        return f"{kind}({code})"
    name, codes = known
    if code < len(codes):
        return f"{name}({codes[code]})"
    return f"{name}(Code: {code})" if codes or code else name


def summary(protocol: int, flags: int, icmp_type: int, icmp_code: int, *, ipv6: bool) -> str:
    """Return the line for a packet of an IP protocol."""
    if protocol == TCP:
        return f"TCP Flags: {tcp_flags(flags)}"
    if protocol == ICMP:
        return f"ICMPv4 {icmp(icmp_type, icmp_code, ipv6=False)}"
    if protocol == ICMPV6:
        return f"ICMPv6 {icmp(icmp_type, icmp_code, ipv6=True)}"
    return _OTHERS.get(protocol, "IPv6" if ipv6 else "IPv4")
