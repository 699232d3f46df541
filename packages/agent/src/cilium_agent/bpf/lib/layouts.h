/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of the pinned maps; declared in cilium_core.layouts, compared by BTF. */
#pragma once

/* 128 bits in network order, IPv4 mapped, in words so that no key needs 8-byte alignment. */
struct addr {
	u32 w[4];
};

#define ENDPOINT_HOST 1

struct endpoint_key {
	struct addr addr;
};

struct endpoint_info {
	struct addr addr;
	u32 ifindex;
	u32 identity;
	u16 endpoint_id;
	u16 flags;
	u8 mac[6]; /* these two lie as a frame has them, so one copy writes both */
	u8 node_mac[6];
	u32 policy; /* with the revision in one aligned word: they are read together */
	u32 revision;
} __attribute__((aligned(8)));

struct ipcache_key {
	u32 prefixlen;
	struct addr addr;
};

struct ipcache_info {
	u32 identity;
	u32 flags;
	struct addr tunnel;
};

struct tunnel_info {
	struct addr node;
	u32 node_id;
	u32 pad;
};

struct service_key {
	struct addr addr;
	__be16 port;
	u8 proto;
	u8 scope;
};

struct service_info {
	u32 service_id;
	u32 count;
	u32 flags;
	u32 affinity_seconds;
};

struct slot_key {
	u32 service_id;
	u32 slot;
};

struct slot_info {
	u32 backend_id;
	u32 service_id;
};

struct backend_key {
	u32 backend_id;
};

struct backend_info {
	struct addr addr;
	__be16 port;
	u8 proto;
	u8 state;
	u32 backend_id;
};

struct reverse_key {
	u64 cookie;
	struct addr addr;
	__be16 port;
	u16 proto;
	u32 pad;
};

struct reverse_info {
	struct addr addr;
	__be16 port;
	u16 pad;
	u32 service_id;
};

#define TRANSLATION_SOURCE  1
#define TRANSLATION_HAIRPIN 2

struct translation_key {
	struct addr saddr;
	struct addr daddr;
	__be16 sport;
	__be16 dport;
	u8 proto;
	u8 pad;
	u16 pad2;
};

struct translation_info {
	struct addr addr;
	__be16 port;
	u16 flags;
	u32 service_id;
	u32 backend_id;
	u32 pad;
};

struct metrics_key {
	u8 reason;
	u8 direction;
	u16 pad;
};

struct metrics_info {
	u64 count;
	u64 bytes;
};

struct bits_key {
	u32 identity;
	u32 word;
};

struct bits_info {
	u32 identity;
	u32 word;
	u64 bits;
};

#define ROW_CELLS  4
#define LIST_CELLS 128

#define ROW_ANY_ALLOW  1
#define ROW_ANY_DENY   2
#define ROW_ANY_L7     4
#define ROW_KNOWN_ONLY 8

#define PREFIX_DIRECTION 40
#define PREFIX_PROTOCOL  48
#define PREFIX_PORT      64

struct row_key {
	u32 prefixlen;
	u32 policy;
	u8 direction;
	u8 protocol;
	__be16 port;
};

struct cell {
	u32 word;
	u32 pad;
	u64 allow;
	u64 deny;
	u64 l7;
};

struct row_info {
	u8 flags;
	u8 prefixlen;
	u16 count;
	u32 list_id;
	struct cell cells[ROW_CELLS];
};

struct list_key {
	u32 list_id;
	u32 index;
};

struct list_info {
	u32 list_id;
	u32 index;
	u32 word; /* from here on a struct cell */
	u32 pad;
	u64 allow;
	u64 deny;
	u64 l7;
};

#define CONNECTION_SEEN_NON_SYN 1
#define CONNECTION_PROXY        8
#define CONNECTION_DENIED       16
#define CONNECTION_TURNED       32
#define CONNECTION_INGRESS_LEG  64

struct connection_key {
	struct addr local;
	struct addr peer;
	__be16 local_port;
	__be16 peer_port;
	u8 proto;
	u8 direction;
	u16 leg;
};

struct connection_info {
	u32 expires;
	u16 flags;
	__be16 proxy_port;
	u32 peer_identity;
	u32 revision;
	u64 tx_packets;
	u64 tx_bytes;
	u64 rx_packets;
	u64 rx_bytes;
	u32 tx_reported;
	u32 rx_reported;
	u8 tx_tcp_flags;
	u8 rx_tcp_flags;
	u16 pad;
	u32 service_id;
};

struct fragment_key {
	struct addr saddr;
	struct addr daddr;
	u32 ident;
	u8 proto;
	u8 pad;
	u16 pad2;
};

struct fragment_info {
	__be16 sport;
	__be16 dport;
	u8 proto;
	u8 icmp_type;
	u8 icmp_code;
	u8 pad;
};

struct redirect_key {
	u32 policy;
	u32 identity;
	u8 direction;
	u8 protocol;
	__be16 row_port;
	u8 prefixlen;
	u8 pad;
	__be16 pad2;
};

struct redirect_info {
	u32 policy;
	u32 identity;
	u8 direction;
	u8 protocol;
	__be16 row_port;
	u8 prefixlen;
	u8 pad;
	__be16 port;
};

struct listener_key {
	__be16 port;
	u8 protocol;
	u8 family;
};

struct listener_info {
	u64 cookie;
};

#define EVENT_DROP           1
#define EVENT_TRACE          4
#define EVENT_POLICY_VERDICT 5

#define OBSERVE_TO_ENDPOINT 0
#define OBSERVE_TO_PROXY    1
#define OBSERVE_TO_HOST     2
#define OBSERVE_TO_STACK    3
#define OBSERVE_TO_OVERLAY  4

#define STATE_NEW         1
#define STATE_ESTABLISHED 2
#define STATE_REPLY       3
#define STATE_RELATED     4

#define EVENT_IPV6     1
#define EVENT_CLOSE    4
#define EVENT_FRAGMENT 8

struct event {
	u64 time;
	u8 type;
	u8 subtype;
	u8 direction;
	u8 flags;
	u8 state;
	u8 match;
	u8 proto;
	u8 tcp_flags;
	u32 source_identity;
	u32 destination_identity;
	struct addr source;
	struct addr destination;
	__be16 sport;
	__be16 dport;
	u16 endpoint_id;
	u8 icmp_type;
	u8 icmp_code;
	u32 ifindex;
	u32 length;
	u32 policy;
	u32 revision;
	u64 bits;
	u32 word;
	u32 row_prefixlen;
	u32 service_id;
	u16 line;
	__be16 proxy_port;
	u64 tx_packets;
	u64 rx_packets;
	u64 pad2;
};

struct event_lost_key {
	u32 type;
};

struct event_lost_info {
	u64 count;
};

#define CONFIG_EVENTS         0
#define CONFIG_TRACE_INTERVAL 1
#define CONFIG_TRACE_FLAGS    2
#define CONFIG_GENERATION     3

struct config_key {
	u32 index;
};

struct config_info {
	u64 value;
};
