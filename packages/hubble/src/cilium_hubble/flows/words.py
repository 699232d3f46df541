# SPDX-License-Identifier: Apache-2.0
"""Upstream's words for numbers in events: types, points, drop reasons, matches. Pure."""

from __future__ import annotations

from cilium_core.layouts.events import EventType

EVENT_TYPES = {
    "drop": int(EventType.DROP),
    "debug": 2,
    "capture": 3,
    "trace": int(EventType.TRACE),
    "policy-verdict": int(EventType.POLICY_VERDICT),
    "recorder": 6,
    "trace-sock": 7,
    "l7": 129,
    "agent": 130,
}

OBSERVATION_POINTS = (
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
)
TO_ENDPOINT_IN_FLOWS = 101  # flow.TraceObservationPoint keeps 0 for the unknown

MATCHES = ("none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only")

STATES = ("unknown", "new", "established", "reply", "related")

DROP_REASONS = {
    0: "Success",
    2: "Invalid packet",
    3: "Interface",
    4: "Interface Decrypted",
    5: "LB, sock cgroup: No backend slot entry found",
    6: "LB, sock cgroup: No backend entry found",
    7: "LB, sock cgroup: Reverse entry update failed",
    8: "LB, sock cgroup: Reverse entry stale",
    9: "Fragmented packet",
    10: "Fragmented packet entry update failed",
    12: "Interface Decrypting",
    13: "Interface Encrypting",
    14: "LB: sock cgroup: Reverse entry delete succeeded",
    15: "MTU error message",
    130: "Invalid source mac (unused)",
    131: "Invalid destination mac (unused)",
    132: "Invalid source ip",
    133: "Policy denied",
    134: "Invalid packet",
    135: "CT: Truncated or invalid header",
    136: "Fragmentation needed",
    137: "CT: Unknown L4 protocol",
    138: "CT: Can't create entry from packet (unused)",
    139: "Unsupported L3 protocol",
    140: "Missed tail call",
    141: "Error writing to packet",
    142: "Unknown L4 protocol",
    143: "Unknown ICMPv4 code",
    144: "Unknown ICMPv4 type",
    145: "Unknown ICMPv6 code",
    146: "Unknown ICMPv6 type",
    147: "Error retrieving tunnel key",
    148: "Error retrieving tunnel options (unused)",
    149: "Invalid Geneve option (unused)",
    150: "Unknown L3 target address",
    151: "Stale or unroutable IP",
    152: "No matching local container found (unused)",
    153: "Error while correcting L3 checksum",
    154: "Error while correcting L4 checksum",
    155: "CT: Map insertion failed",
    156: "Invalid IPv6 extension header",
    157: "IP fragmentation not supported",
    158: "Service backend not found",
    160: "No tunnel/encapsulation endpoint (datapath BUG!)",
    161: "NAT 46/64 not enabled",
    162: "Reached EDT rate-limiting drop horizon",
    163: "Unknown connection tracking state",
    164: "Local host is unreachable",
    165: "No configuration available to perform policy decision (unused)",
    166: "Unsupported L2 protocol",
    167: "No mapping for NAT masquerade",
    168: "Unsupported protocol for NAT masquerade",
    169: "FIB lookup failed",
    170: "Encapsulation traffic is prohibited",
    171: "Invalid identity",
    172: "Unknown sender",
    173: "NAT not needed",
    174: "Is a ClusterIP",
    175: "First logical datagram fragment not found",
    176: "Forbidden ICMPv6 message",
    177: "Denied by LB src range check",
    178: "Socket lookup failed",
    179: "Socket assign failed",
    180: "Proxy redirection not supported for protocol",
    181: "Policy denied by denylist",
    182: "VLAN traffic disallowed by VLAN filter",
    183: "Incorrect VNI from VTEP",
    184: "Failed to update or lookup TC buffer",
    185: "No SID was found for the IP address",
    186: "SRv6 state was removed during tail call",
    187: "L3 translation from IPv4 to IPv6 failed (NAT46)",
    188: "L3 translation from IPv6 to IPv4 failed (NAT64)",
    189: "Authentication required",
    190: "No conntrack map found",
    191: "No nat map found",
    192: "Invalid ClusterID",
    193: "Unsupported packet protocol for DSR encapsulation",
    194: "No egress gateway found",
    195: "Traffic is unencrypted",
    196: "TTL exceeded",
    197: "No node ID found",
    198: "Rate limited",
    199: "IGMP handled",
    200: "IGMP subscribed",
    201: "Multicast handled",
    202: "Host datapath not ready",
    203: "Endpoint policy program not available",
    204: "No Egress IP configured",
    205: "Punt to proxy",
    206: "No device",
    207: "First logical datagram fragment not found from world",
}


def drop_reason(code: int) -> str:
    """Return the words of a drop reason; an unknown one is its number."""
    return DROP_REASONS.get(code, str(code))


def observation_point(code: int) -> str:
    """Return the words of a trace event's subtype; an unknown one is its number."""
    return OBSERVATION_POINTS[code] if code < len(OBSERVATION_POINTS) else str(code)


def match(code: int) -> str:
    """Return the words of a policy match type; an unknown one is its number."""
    return MATCHES[code] if code < len(MATCHES) else str(code)


def state(code: int) -> str:
    """Return the words of what connection tracking said; an unknown one is its number."""
    return STATES[code] if code < len(STATES) else str(code)
