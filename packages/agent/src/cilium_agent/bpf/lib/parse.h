/* SPDX-License-Identifier: Apache-2.0 */
/* Frame to struct packet. Everything that a sender can lie about is checked here, once. */
#pragma once

#define MAX_EXTENSION_HEADERS 6
#define NEXT_HOP_BY_HOP       0
#define NEXT_ROUTING          43
#define NEXT_FRAGMENT         44
#define NEXT_AUTH             51
#define NEXT_DESTINATION      60

static __always_inline int parse_ports(struct __sk_buff *skb, struct packet *pkt)
{
	u32 header = 0;

	if (pkt->tuple.proto == IPPROTO_TCP)
		header = sizeof(struct tcphdr);
	else if (pkt->tuple.proto == IPPROTO_UDP)
		header = sizeof(struct udphdr);
	else
		return 0;
	if (pkt->l4_offset + header > skb->len)
		return DROP_INVALID_L4_HEADER;
	/* sport and dport lie together in the tuple as in both headers */
	if (bpf_skb_load_bytes(skb, pkt->l4_offset, &pkt->tuple.sport, 4))
		return DROP_INVALID_L4_HEADER;
	pkt->has_ports = 1;
	return 0;
}

static __always_inline int parse_v4(struct __sk_buff *skb, struct packet *pkt)
{
	struct iphdr *ip = linear(skb, ETH_HLEN + sizeof(*ip));
	u32 header, total;

	if (!ip)
		return DROP_INVALID_PACKET;
	ip = (void *)ip + ETH_HLEN;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip))
		return DROP_INVALID_PACKET;
	/* A zero length is how the stack hands on a segment train above 64 KiB. */
	if (total == 0 ? skb->gso_size == 0 : total < header || total + ETH_HLEN > skb->len)
		return DROP_INVALID_PACKET;
	map_v4(&pkt->tuple.saddr, ip->saddr);
	map_v4(&pkt->tuple.daddr, ip->daddr);
	pkt->family = FAMILY_V4;
	pkt->tuple.proto = ip->protocol;
	pkt->l4_offset = ETH_HLEN + header;
	if (ip->frag_off & bpf_htons(0x3fff))
		return 0; /* a fragment goes by its addresses */
	return parse_ports(skb, pkt);
}

/* Walks to the transport header. Returns a drop reason, or 0; `fragment` tells of that header. */
static __always_inline int skip_extensions(
	struct __sk_buff *skb, struct packet *pkt, u8 next, bool *fragment)
{
	u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	u8 head[2];

#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_DESTINATION &&
			next != NEXT_AUTH && next != NEXT_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, offset, head, sizeof(head)))
			return DROP_EXTENSION_HEADER;
		if (next == NEXT_FRAGMENT) {
			*fragment = true;
			offset += 8;
		} else if (next == NEXT_AUTH) {
			offset += (head[1] + 2) * 4;
		} else {
			offset += (head[1] + 1) * 8;
		}
		next = head[0];
	}
	if (next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_DESTINATION ||
		next == NEXT_AUTH || next == NEXT_FRAGMENT || offset > skb->len)
		return DROP_EXTENSION_HEADER;
	pkt->tuple.proto = next;
	pkt->l4_offset = offset;
	return 0;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct packet *pkt)
{
	struct ipv6hdr *ip = linear(skb, ETH_HLEN + sizeof(*ip));
	bool fragment = false;
	int reason;

	if (!ip)
		return DROP_INVALID_PACKET;
	ip = (void *)ip + ETH_HLEN;
	if (ip->version != 6)
		return DROP_INVALID_PACKET;
	if (bpf_ntohs(ip->payload_len) + sizeof(*ip) + ETH_HLEN > skb->len)
		return DROP_INVALID_PACKET;
	__builtin_memcpy(&pkt->tuple.saddr, &ip->saddr, sizeof(pkt->tuple.saddr));
	__builtin_memcpy(&pkt->tuple.daddr, &ip->daddr, sizeof(pkt->tuple.daddr));
	pkt->family = FAMILY_V6;
	/* A mapped address on the wire would pass for an IPv4 one in every map. */
	if (is_mapped_v4(&pkt->tuple.saddr) || is_mapped_v4(&pkt->tuple.daddr))
		return DROP_INVALID_PACKET;
	reason = skip_extensions(skb, pkt, ip->nexthdr, &fragment);
	if (reason || fragment)
		return reason;
	return parse_ports(skb, pkt);
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *pkt)
{
	pkt->tuple.sport = 0;
	pkt->tuple.dport = 0;
	pkt->tuple.pad = 0;
	pkt->tuple.pad2 = 0;
	pkt->has_ports = 0;
	pkt->elsewhere = 0;
	if (skb->vlan_present)
		return DROP_UNSUPPORTED_L2;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ENABLE_IPV4 ? parse_v4(skb, pkt) : DROP_UNSUPPORTED_L3;
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ENABLE_IPV6 ? parse_v6(skb, pkt) : DROP_UNSUPPORTED_L3;
	return DROP_UNSUPPORTED_L2;
}
