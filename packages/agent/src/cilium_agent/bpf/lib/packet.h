/* SPDX-License-Identifier: Apache-2.0 */
/* One packet's facts, read once by the entry program and handed on through tail calls. */
#pragma once

#define FAMILY_V4 4
#define FAMILY_V6 6

#define ORIGIN_CONTAINER 1
#define ORIGIN_OVERLAY   2
#define ORIGIN_HOST      3

#define FRAGMENT_FIRST 1
#define FRAGMENT_LATER 2

/* What an ICMP message does to connections; 0 is no ICMP. */
#define ICMP_REQUEST 1
#define ICMP_ANSWER  2
#define ICMP_ERROR   3
#define ICMP_OTHER   4

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	/* As the frame has it, and in the form of a map key, so that no stage copies it to its
	 * stack. Ports are zero when there are none; of an ICMP echo both are the identifier. */
	struct translation_key tuple;
	struct connection_key key;   /* of the endpoint that is judging */
	struct endpoint_info source; /* the sending pod, if it is one of this node's */
	struct endpoint_info target; /* whose address it is, if it is one of this node's */
	struct addr node;            /* that has the target, unset when the ipcache does not say */
	struct addr frontend;        /* through which a pod reaches itself */
	u64 generation;              /* of the agent's tables, when the packet came */
	u32 fragment_ident;
	u32 now; /* seconds */
	u32 end; /* of the packet inside the frame */
	u32 l4_offset;
	/* From here on zeroed for each packet. */
	u32 source_identity;
	u32 target_identity;
	u32 service_id;
	u8 family;
	u8 origin;
	u8 direction; /* of the policy that is judging */
	u8 local;     /* the target is this node's */
	u8 has_ports; /* that services can translate */
	u8 fragment;
	u8 fragment_proto;
	u8 tcp_flags;
	u8 icmp; /* one of ICMP_* above */
	u8 icmp_type;
	u8 icmp_code;
	u8 translated;
	u8 hairpin;
	u8 reason; /* of the drop */
	u16 line;
	u8 leg; /* which proxy of this node sends it: LEG_* */
	u8 pad[3];
	/* And from here on for each endpoint that judges it. */
	u64 tx_packets; /* of the connection, for its events */
	u64 rx_packets;
	u64 bits; /* what matched in the policy's row */
	u32 word;
	u8 match;
	u8 row_prefixlen;
	u8 state;          /* of the connection: STATE_* */
	u8 supersedes;     /* there is an entry of the other direction that this connection ends */
	u8 reverse;        /* the source becomes a service's address before delivery */
	u8 report;         /* a trace event is due */
	u8 closes;         /* the connection */
	u8 stranger;       /* answers with another identity than the one that was asked */
	u8 cut;            /* the connection is led elsewhere than before: its proxy lets it go */
	u8 judged;         /* just now */
	__be16 proxy_port; /* of the rule set that it is led to */
} __attribute__((aligned(8)));

/* A map key's last half: ports, protocol and what follows, stored at once for the same reason as
 * addresses are. */
typedef u64 __attribute__((may_alias)) half;

static __always_inline half *tail_of(void *key)
{
	return (half *)(key + offsetof(struct translation_key, sport));
}

/* Per CPU: programs run with bottom halves off and a redirect runs after the program, so nothing
 * else touches the slot between the first stage and the last. */
BPF_PERCPU_ARRAY(scratch, struct packet, 1);

static __always_inline struct packet *packet_scratch(void)
{
	u32 zero = 0;

	return scratch.lookup(&zero);
}

/* Of the monotonic clock. The tick counter, which starts five minutes below 2^32, is read without
 * a call. */
static __always_inline u32 seconds(void)
{
#if KERNEL_HZ
	return (bpf_jiffies64() - ((1ULL << 32) - 300 * KERNEL_HZ)) / KERNEL_HZ;
#else
	return bpf_ktime_get_coarse_ns() / 1000000000;
#endif
}

static __always_inline void forget(struct endpoint_info *info)
{
	info->endpoint_id = 0;
	info->policy = 0;
	info->revision = 0;
}

static __always_inline void begin(struct packet *pkt, u8 origin, u8 direction)
{
	__builtin_memset(
		&pkt->source_identity, 0, sizeof(*pkt) - offsetof(struct packet, source_identity));
	*tail_of(&pkt->tuple) = 0;
	forget(&pkt->source);
	forget(&pkt->target);
	pkt->origin = origin;
	pkt->direction = direction;
	pkt->now = seconds();
	pkt->generation = generation();
}

static __always_inline u8 direction_of(const struct packet *pkt)
{
	return pkt->origin == ORIGIN_OVERLAY ? DIRECTION_INGRESS : DIRECTION_EGRESS;
}

/* Addresses move in two halves: a load that spans two stores waits for both to reach the cache. */
static __always_inline void copy_addr(void *to, const void *from)
{
	((half *)to)[0] = ((const half *)from)[0];
	((half *)to)[1] = ((const half *)from)[1];
}

static __always_inline void map_v4(struct addr *addr, __be32 v4)
{
	((half *)addr)[0] = 0;
	((half *)addr)[1] = (u64)v4 << 32 | bpf_htonl(0xffff);
}

static __always_inline bool is_mapped_v4(const struct addr *addr)
{
	return addr->w[0] == 0 && addr->w[1] == 0 && addr->w[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_unset(const struct addr *addr)
{
	return !(((const half *)addr)[0] | ((const half *)addr)[1]);
}

static __always_inline bool same_addr(const struct addr *a, const struct addr *b)
{
	return ((const half *)a)[0] == ((const half *)b)[0] &&
	       ((const half *)a)[1] == ((const half *)b)[1];
}

/* The target is a pod of this node, and not the node itself. */
static __always_inline bool to_pod(const struct packet *pkt)
{
	return pkt->local && !(pkt->target.flags & ENDPOINT_HOST);
}

/* The first `length` bytes as directly readable memory, or NULL when the frame has fewer. */
static __always_inline void *linear(struct __sk_buff *skb, u32 length)
{
	void *data = (void *)(long)skb->data;

	if (data + length <= (void *)(long)skb->data_end)
		return data;
	if (bpf_skb_pull_data(skb, length))
		return NULL;
	data = (void *)(long)skb->data;
	return data + length <= (void *)(long)skb->data_end ? data : NULL;
}
