/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of the pinned maps; declared in cilium_core.layouts.datapath, compared by BTF. */
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
	u32 ifindex;
	u32 identity;
	u16 endpoint_id;
	u16 flags;
	u8 mac[6]; /* these two lie as a frame has them, so one copy writes both */
	u8 node_mac[6];
	u32 row;
	u32 pad;
};

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

#define TRANSLATION_SOURCE 1

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
