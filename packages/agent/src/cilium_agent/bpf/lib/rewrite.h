/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a frame, checksums kept right: addresses and ports, hop limit, MACs. Later fragments
 * have no transport header to change. */
#pragma once

#define SIDE_SOURCE      0
#define SIDE_DESTINATION 1

/* Writes address and port of one side, into the frame and into the packet's facts. */
static __always_inline int rewrite(
	struct __sk_buff *skb, struct packet *pkt, int side, const struct addr *addr, __be16 port)
{
	struct addr *old = side == SIDE_SOURCE ? &pkt->tuple.saddr : &pkt->tuple.daddr;
	__be16 *old_port = side == SIDE_SOURCE ? &pkt->tuple.sport : &pkt->tuple.dport;
	bool udp = pkt->tuple.proto == IPPROTO_UDP;
	u32 l4 = pkt->l4_offset;
	u32 checksum = l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	/* An absent UDP checksum stays absent. */
	u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	s64 difference = bpf_csum_diff(old->w, sizeof(*old), (u32 *)addr->w, sizeof(*addr), 0);
	u32 offset;

	if (pkt->fragment != FRAGMENT_LATER) {
		if (bpf_l4_csum_replace(skb, checksum, 0, difference, flags | BPF_F_PSEUDO_HDR))
			return DROP_L4_CHECKSUM;
		if (bpf_l4_csum_replace(skb, checksum, *old_port, port, flags | 2))
			return DROP_L4_CHECKSUM;
		/* Both transports begin with source and destination port. */
		if (bpf_skb_store_bytes(skb, l4 + (side == SIDE_SOURCE ? 0 : 2), &port, 2, 0))
			return DROP_WRITE;
	}
	if (pkt->family == FAMILY_V4) {
		if (bpf_l3_csum_replace(
			    skb, ETH_HLEN + offsetof(struct iphdr, check), 0, difference, 0))
			return DROP_L3_CHECKSUM;
		offset = ETH_HLEN + (side == SIDE_SOURCE ? offsetof(struct iphdr, saddr)
							 : offsetof(struct iphdr, daddr));
		if (bpf_skb_store_bytes(skb, offset, (void *)&addr->w[3], 4, 0))
			return DROP_WRITE;
	} else {
		offset = ETH_HLEN + (side == SIDE_SOURCE ? offsetof(struct ipv6hdr, saddr)
							 : offsetof(struct ipv6hdr, daddr));
		if (bpf_skb_store_bytes(skb, offset, (void *)addr, sizeof(*addr), 0))
			return DROP_WRITE;
	}
	*old = *addr;
	*old_port = port;
	return 0;
}

/* One routing step: hop limit down (unless the node's stack did it), MACs of the last hop. */
static __always_inline int route_to(
	struct __sk_buff *skb, const struct packet *pkt, const struct endpoint_info *endpoint)
{
	bool decrement = pkt->origin != ORIGIN_HOST;

	if (pkt->family == FAMILY_V4) {
		void *data = linear(skb, ETH_HLEN + sizeof(struct iphdr));
		struct iphdr *ip = data + ETH_HLEN;

		if (!data)
			return DROP_INVALID_PACKET;
		if (decrement) {
			u32 sum = ip->check;

			if (ip->ttl <= 1)
				return DROP_TTL_EXCEEDED;
			/* RFC 1624 for a subtraction of one from the high byte */
			sum += bpf_htons(0x0100);
			ip->check = sum + (sum >= 0xffff);
			ip->ttl--;
		}
		__builtin_memcpy(data, endpoint->mac, 2 * ETH_ALEN);
	} else {
		void *data = linear(skb, ETH_HLEN + sizeof(struct ipv6hdr));
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (!data)
			return DROP_INVALID_PACKET;
		if (decrement) {
			if (ip->hop_limit <= 1)
				return DROP_TTL_EXCEEDED;
			ip->hop_limit--;
		}
		__builtin_memcpy(data, endpoint->mac, 2 * ETH_ALEN);
	}
	return 0;
}
