# SPDX-License-Identifier: Apache-2.0
"""What the datapath's reason codes are called in metrics; upstream's words. Pure."""

from __future__ import annotations

_TEXTS = {
    0: "Success",
    132: "Invalid source ip",
    133: "Policy denied",
    134: "Invalid packet",
    135: "CT: Truncated or invalid header",
    139: "Unsupported L3 protocol",
    140: "Missed tail call",
    141: "Error writing to packet",
    142: "Unknown L4 protocol",
    147: "Error retrieving tunnel key",
    150: "Unknown L3 target address",
    151: "Stale or unroutable IP",
    153: "Error while correcting L3 checksum",
    154: "Error while correcting L4 checksum",
    155: "CT: Map insertion failed",
    156: "Invalid IPv6 extension header",
    158: "Service backend not found",
    160: "No tunnel/encapsulation endpoint (datapath BUG!)",
    166: "Unsupported L2 protocol",
    169: "FIB lookup failed",
    171: "Invalid identity",
    175: "First logical datagram fragment not found",
    180: "Proxy redirection not supported for protocol",
    181: "Policy denied by denylist",
    196: "TTL exceeded",
}

# Lower codes count events that drop nothing, as socket translation without a backend.
FIRST_DROP_REASON = 130


def reason_text(code: int) -> str:
    """Return the words of a reason; a code without any is shown as its number."""
    return _TEXTS.get(code, f"Unknown reason {code}")
