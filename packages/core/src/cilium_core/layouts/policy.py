# SPDX-License-Identifier: Apache-2.0
"""Keys and values of the maps that decide: peer-set bits, port rows, connections. Version 1.

A packet's fate is one row (`policy`, direction, protocol, port; longest prefix wins) and, for each
word that the row names, the peer identity's bits of that word. How Python fills them, and in which
order, is `cilium_core.policy.tables`.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from cilium_core.layouts.record import U8, U16, U32, U64, Be16, Raw16, Record, Wire, record

ROW_CELLS = 4  # cells inside a row; more lie in an overflow list
LIST_CELLS = 128  # longest overflow list: 8 192 peer sets on one port
# Prefix lengths of a row's key: the bits of (policy, direction), of the protocol, of the port.
PREFIX_DIRECTION = 40
PREFIX_PROTOCOL = 48
PREFIX_PORT = 64


@record("bits_key")
class BitsKey(Record):
    """One word (64 peer sets) of one identity."""

    identity: U32
    word: U32


@record("bits_info")
class BitsInfo(Record):
    """Which of the word's peer sets have the identity; the key repeated, since values recycle."""

    bits: U64
    identity: U32
    word: U32


class RowFlag(IntFlag):
    """Bits of `RowInfo.flags`: verdicts that ask for no identity."""

    ANY_ALLOW = 1
    ANY_DENY = 2
    ANY_L7 = 4


@record("row_key")
class RowKey(Record):
    """Ports of one direction of one policy. `port` holds the leading bits of the prefix.

    `policy` numbers a resolved policy (endpoints with the same one share it); for ICMP the port
    is the message type.
    """

    prefixlen: U32
    policy: U32
    direction: U8
    protocol: U8
    port: Be16


@record("cell")
class Cell(Record):
    """What one word of peer sets does on a row: the bits that allow, deny, or lead to L7 rules."""

    word: U32
    pad: U32
    allow: U64
    deny: U64
    l7: U64


@record("row_info")
class RowInfo(Record):
    """What a row decides: flags, `count` cells here, the rest in overflow list `list_id` (0: none).

    `cells` holds ROW_CELLS packed Cells, unused ones zero.
    """

    flags: U16
    count: U16
    list_id: U32
    cells: Annotated[bytes, Wire("128s")] = bytes(128)


@record("list_key")
class ListKey(Record):
    """A place in an overflow list. A list never changes: another content is another number."""

    list_id: U32
    index: U32


@record("list_info")
class ListInfo(Record):
    """One cell of an overflow list, its key repeated."""

    list_id: U32
    index: U32
    word: U32
    pad: U32
    allow: U64
    deny: U64
    l7: U64


class ConnectionFlag(IntFlag):
    """Bits of `ConnectionInfo.flags`. Tx is from the one who opened the connection."""

    SEEN_NON_SYN = 1
    TX_CLOSING = 2
    RX_CLOSING = 4
    PROXY = 8


@record("connection_key")
class ConnectionKey(Record):
    """A connection as its enforcing endpoint (`local`) sees it.

    `direction` says who opened it: 1 the peer (ingress), 2 the endpoint (egress). Ports of ICMP
    echo are both the identifier.
    """

    local: Raw16
    peer: Raw16
    local_port: Be16
    peer_port: Be16
    proto: U8
    direction: U8
    pad: U16 = 0


@record("connection_info")
class ConnectionInfo(Record):
    """State of a connection. `expires` is in seconds of the monotonic clock (boot time excluded).

    Forward packets skip policy while `revision` is the endpoint's and `peer_identity` the peer's.
    """

    expires: U32
    flags: U16
    proxy_port: Be16
    peer_identity: U32
    revision: U32
    tx_packets: U64
    tx_bytes: U64
    rx_packets: U64
    rx_bytes: U64
    tx_reported: U32
    rx_reported: U32
    tx_tcp_flags: U8
    rx_tcp_flags: U8
    pad: U16 = 0
    service_id: U32 = 0


@record("fragment_key")
class FragmentKey(Record):
    """A datagram in pieces."""

    saddr: Raw16
    daddr: Raw16
    ident: U32
    proto: U8
    pad: U8 = 0
    pad2: U16 = 0


@record("fragment_info")
class FragmentInfo(Record):
    """The ports that its first piece showed."""

    sport: Be16
    dport: Be16
