/* SPDX-License-Identifier: Apache-2.0 */
/* One packet's facts, read once by the entry program and handed on through tail calls. */
#pragma once

#define FAMILY_V4 4
#define FAMILY_V6 6

#define ORIGIN_CONTAINER 1
#define ORIGIN_OVERLAY   2
#define ORIGIN_HOST      3

struct packet {
	/* First, and in the form of a map key, so that no stage copies it to its stack. Ports are
	 * zero when the packet has none to show: fragments and other protocols. */
	struct translation_key tuple;
	u32 identity; /* of the sender */
	u16 l4_offset;
	u8 family;
	u8 origin;
	u8 has_ports;
	u8 elsewhere; /* the target is known to be none of this node's addresses */
};

/* Per CPU: programs run with bottom halves off and a redirect runs after the program, so nothing
 * else touches the slot between the first stage and the last. */
BPF_PERCPU_ARRAY(scratch, struct packet, 1);

static __always_inline struct packet *packet_scratch(void)
{
	u32 zero = 0;

	return scratch.lookup(&zero);
}

static __always_inline u8 direction_of(const struct packet *pkt)
{
	return pkt->origin == ORIGIN_OVERLAY ? DIRECTION_INGRESS : DIRECTION_EGRESS;
}

static __always_inline void map_v4(struct addr *addr, __be32 v4)
{
	addr->w[0] = 0;
	addr->w[1] = 0;
	addr->w[2] = bpf_htonl(0xffff);
	addr->w[3] = v4;
}

static __always_inline bool is_mapped_v4(const struct addr *addr)
{
	return addr->w[0] == 0 && addr->w[1] == 0 && addr->w[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_unset(const struct addr *addr)
{
	return !(addr->w[0] | addr->w[1] | addr->w[2] | addr->w[3]);
}

static __always_inline bool same_addr(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
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
