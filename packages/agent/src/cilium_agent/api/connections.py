# SPDX-License-Identifier: Apache-2.0
"""One connection as text, in upstream's words. Pure."""

from __future__ import annotations

from cilium_core.addresses import unpack_address
from cilium_core.layouts.policy import ConnectionFlag, ConnectionInfo, ConnectionKey
from cilium_core.policy.rules import Direction, Protocol

_NAMES = {int(member): member.name for member in Protocol} | {int(Protocol.ICMPV6): "ICMPv6"}
_FIN_OR_RST = 0x05


def protocol_text(number: int) -> str:
    """Return a protocol's name; one without is its number."""
    return _NAMES.get(number, str(number))


def connection_text(key: ConnectionKey) -> str:
    """Return protocol, direction and both ends, the one who opened it first."""
    local, peer = _at(key.local, key.local_port), _at(key.peer, key.peer_port)
    if key.direction == Direction.INGRESS:
        return f"{protocol_text(key.proto)} IN {peer} -> {local}"
    return f"{protocol_text(key.proto)} OUT {local} -> {peer}"


def state_text(info: ConnectionInfo) -> str:
    """Return counters and state; times are seconds of the monotonic clock.

    `PeerSecurityID` is the identity of the end that is not the endpoint whose entry it is.
    """
    return (
        f"expires={info.expires} "
        f"RxPackets={info.rx_packets} RxBytes={info.rx_bytes} "
        f"RxFlagsSeen=0x{info.rx_tcp_flags:02x} LastRxReport={info.rx_reported} "
        f"TxPackets={info.tx_packets} TxBytes={info.tx_bytes} "
        f"TxFlagsSeen=0x{info.tx_tcp_flags:02x} LastTxReport={info.tx_reported} "
        f"Flags=0x{info.flags:04x} [ {_words(info)}] "
        f"RevNAT={info.service_id} PeerSecurityID={info.peer_identity} Revision={info.revision}"
    )


def _words(info: ConnectionInfo) -> str:
    words = {
        "RxClosing": info.rx_tcp_flags & _FIN_OR_RST,
        "TxClosing": info.tx_tcp_flags & _FIN_OR_RST,
        "SeenNonSyn": info.flags & ConnectionFlag.SEEN_NON_SYN,
        "ProxyRedirect": info.flags & ConnectionFlag.PROXY,
        "PolicyDenied": info.flags & ConnectionFlag.DENIED,
    }
    return "".join(f"{word} " for word, is_set in words.items() if is_set)


def _at(raw: bytes, port: int) -> str:
    text = str(unpack_address(raw))
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
