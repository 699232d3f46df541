# SPDX-License-Identifier: Apache-2.0
"""Keys and values of the maps that decide: peer-set bits, port rows, connections. Version 1.

A packet's fate is one row (`policy`, direction, protocol, port; longest prefix wins) and, for each
word that the row names, the peer identity's bits of that word. How Python fills them, and in which
order, is `cilium_core.policy.tables`.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated, Any

from cilium_core.layouts.record import U8, U16, U32, U64, Be16, Raw16, Record, Wire, record
from cilium_core.layouts.spec import MapKind, MapSpec

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
    """Which of the word's peer sets have the identity; the key repeated, since values recycle.

    The key comes first: it is overwritten first, and readers check it last.
    """

    identity: U32
    word: U32
    bits: U64


class RowFlag(IntFlag):
    """Bits of `RowInfo.flags`: verdicts that ask for no identity, and what having none means."""

    ANY_ALLOW = 1
    ANY_DENY = 2
    ANY_L7 = 4
    KNOWN_ONLY = 8  # cells name everyone who is known


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

    `cells` holds ROW_CELLS packed Cells, unused ones zero. `prefixlen` repeats the key's: a lookup
    does not tell it.
    """

    flags: U8
    prefixlen: U8
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
    """Bits of `ConnectionInfo.flags`. That a side closes is in its TCP flags (FIN, RST)."""

    SEEN_NON_SYN = 1
    PROXY = 8
    DENIED = 16  # a TCP connection that policy ended: its packets are dropped, replies too
    TURNED = 32  # led to a proxy in its middle, to be reset: the server only knows the client
    INGRESS_LEG = 64  # of a proxy towards an endpoint of this node, whose policy it applies


@record("connection_key")
class ConnectionKey(Record):
    """A connection as its enforcing endpoint (`local`) sees it.

    `direction` says who opened it: 1 the peer (ingress), 2 the endpoint (egress). Ports of ICMP
    echo are both the identifier; other ICMP messages open nothing. With `leg` 1 a proxy of this
    node opened it in the name of `local`: its packets and the endpoint's own may look alike.
    """

    local: Raw16
    peer: Raw16
    local_port: Be16
    peer_port: Be16
    proto: U8
    direction: U8
    leg: U16 = 0


@record("connection_info")
class ConnectionInfo(Record):
    """State of a connection. `expires` is in seconds of the monotonic clock (boot time excluded).

    Forward packets skip policy while `revision` is the endpoint's and `peer_identity` the peer's.
    Tx is from the one who opened it. `*_reported` are the seconds of the last trace event. With a
    `service_id`, packets towards the endpoint are given the service's address as their source.
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
    """A datagram in pieces. `ident` as it lies on the wire; `proto` is the fragment header's."""

    saddr: Raw16
    daddr: Raw16
    ident: U32
    proto: U8
    pad: U8 = 0
    pad2: U16 = 0


@record("fragment_info")
class FragmentInfo(Record):
    """What its first piece showed of the transport header."""

    sport: Be16
    dport: Be16
    proto: U8
    icmp_type: U8
    icmp_code: U8
    pad: U8 = 0


@record("number_key")
class NumberKey(Record):
    """A number that stands for a content: a peer set's bit, or a resolved policy."""

    number: U32


@record("number_info")
class NumberInfo(Record):
    """The content's digest, by which a restarted agent finds the same number again."""

    digest: Raw16


BITS = MapSpec("cilium_policy_bits_v1", MapKind.HASH, BitsKey, BitsInfo, 1_048_576)
ROWS = MapSpec("cilium_policy_rows_v1", MapKind.LPM_TRIE, RowKey, RowInfo, 262_144)
LISTS = MapSpec("cilium_policy_lists_v1", MapKind.HASH, ListKey, ListInfo, 65_536)
CONNECTIONS = MapSpec(
    "cilium_ct_v1", MapKind.LRU_HASH, ConnectionKey, ConnectionInfo, 262_144, sizable=True
)
FRAGMENTS = MapSpec("cilium_frags_v1", MapKind.LRU_HASH, FragmentKey, FragmentInfo, 8192)

POLICY_MAPS: tuple[MapSpec[Any, Any], ...] = (BITS, ROWS, LISTS, CONNECTIONS, FRAGMENTS)

# Python's own memory beside the tables; the programs never look at these.
PEER_NUMBERS = MapSpec("cilium_policy_peers_v1", MapKind.HASH, NumberKey, NumberInfo, 262_144)
POLICY_NUMBERS = MapSpec("cilium_policy_ids_v1", MapKind.HASH, NumberKey, NumberInfo, 65_536)
