/* SPDX-License-Identifier: Apache-2.0 */
/* Whose address it is: a pod of this node, the node itself, or what the ipcache says. */
#pragma once

/* Copies the row of a local address. Hash elements are recycled under readers: a copy is only
 * believed if it says whose it is, and a second look finds the row that replaced it. */
static __always_inline bool find_endpoint(const struct addr *addr, struct endpoint_info *copy)
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct endpoint_info *found = endpoints.lookup((struct endpoint_key *)addr);

		if (!found)
			return false;
		*copy = *found;
		barrier();
		if (same_addr(&found->addr, addr))
			return true;
	}
	return false;
}

/* Who has an address: a pod of this node or the node itself, else an identity and a node. */
struct place {
	struct stamp stamp;
	struct addr addr;
	struct endpoint_info endpoint;
	struct addr node; /* to tunnel to, unset for none */
	u32 identity;
	u32 local;
} __attribute__((aligned(8)));

#define PLACE_BITS 9

BPF_PERCPU_ARRAY(places, struct place, 1 << PLACE_BITS);

static __always_inline struct place *place_of(const struct addr *addr)
{
	u32 slot = (u32)((addr->w[2] ^ addr->w[3]) * 0x9e3779b1) >> (32 - PLACE_BITS);

	return places.lookup(&slot);
}

static __always_inline bool is_known_place(
	const struct packet *pkt, const struct place *place, const struct addr *addr)
{
	return is_recent(&place->stamp, pkt->generation, pkt->now) && same_addr(&place->addr, addr);
}

static __always_inline void know_place(
	const struct packet *pkt, struct place *place, const struct addr *addr)
{
	copy_addr(&place->addr, addr);
	put_stamp(&place->stamp, pkt->generation, pkt->now);
}

/* The pod that a packet says to come from. Others' addresses are not kept: anybody may use them. */
static __always_inline bool find_sender(struct packet *pkt)
{
	const struct addr *addr = &pkt->tuple.saddr;
	struct place *place = place_of(addr);

	if (!place || !is_known_place(pkt, place, addr)) {
		if (!find_endpoint(addr, &pkt->source))
			return false;
		if (place) {
			place->endpoint = pkt->source;
			place->local = true;
			know_place(pkt, place, addr);
		}
		return true;
	}
	pkt->source = place->endpoint;
	return place->local;
}

static __always_inline void read_place(
	struct packet *pkt, struct place *place, const struct addr *addr)
{
	struct ipcache_key key = {.prefixlen = 128};
	struct tunnel_info *tunnel;
	struct ipcache_info *info;

	place->local = find_endpoint(addr, &place->endpoint);
	if (!place->local) {
		key.addr = *addr; /* on the stack, where it lies on half a word */
		info = ipcache.lookup(&key);
		place->identity = info ? info->identity : IDENTITY_WORLD;
		if (info && !is_unset(&info->tunnel)) {
			copy_addr(&place->node, &info->tunnel);
		} else {
			tunnel = tunnels.lookup(&key);
			if (tunnel)
				copy_addr(&place->node, &tunnel->node);
			else
				__builtin_memset(&place->node, 0, sizeof(place->node));
		}
	}
	know_place(pkt, place, addr);
}

/* Everything about the target. False when it cannot be told. */
static __always_inline bool locate(struct packet *pkt)
{
	const struct addr *addr = &pkt->tuple.daddr;
	struct place *place = place_of(addr);

	if (!place)
		return false;
	if (!is_known_place(pkt, place, addr))
		read_place(pkt, place, addr);
	pkt->local = place->local;
	if (place->local) {
		pkt->target = place->endpoint;
		pkt->target_identity = pkt->target.identity;
		return true;
	}
	forget(&pkt->target);
	pkt->target_identity = place->identity;
	copy_addr(&pkt->node, &place->node);
	return true;
}
