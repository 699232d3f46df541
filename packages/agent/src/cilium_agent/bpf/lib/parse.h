/* SPDX-License-Identifier: Apache-2.0 */
/* Frame to struct packet. Everything that a sender can lie about is checked here, once. */
#pragma once

#define MAX_EXTENSION_HEADERS 6
#define NEXT_HOP_BY_HOP       0
#define NEXT_ROUTING          43
#define NEXT_FRAGMENT         44
#define NEXT_AUTH             51
#define NEXT_DESTINATION      60
#define SCTP_HEADER           12
#define OFFSET_MASK           0x3fff /* bounds what the verifier must believe of an offset */

static __always_inline int parse_tcp(struct __sk_buff *skb, struct packet *pkt)
{
	void *data = (void *)(long)skb->data;
	struct tcphdr *tcp = data + (pkt->l4_offset & OFFSET_MASK);

	if (pkt->l4_offset + sizeof(*tcp) > pkt->end)
		return DROP_INVALID_L4_HEADER;
	if ((void *)(tcp + 1) > (void *)(long)skb->data_end) {
		if (bpf_skb_pull_data(skb, pkt->l4_offset + sizeof(*tcp)))
			return DROP_INVALID_L4_HEADER;
		data = (void *)(long)skb->data;
		tcp = data + (pkt->l4_offset & OFFSET_MASK);
		if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
			return DROP_INVALID_L4_HEADER;
	}
	*(u32 *)&pkt->tuple.sport = *(u32 *)&tcp->source; /* both ports */
	pkt->tcp_flags = ((u8 *)tcp)[13];
	pkt->has_ports = 1;
	return 0;
}

static __always_inline int parse_ports(struct __sk_buff *skb, struct packet *pkt, u32 header)
{
	if (pkt->l4_offset + header > pkt->end ||
		bpf_skb_load_bytes(skb, pkt->l4_offset, &pkt->tuple.sport, 4))
		return DROP_INVALID_L4_HEADER;
	return 0;
}

/* Each family has its own; the other's number in it is just some protocol. */
static __always_inline bool is_icmp(const struct packet *pkt)
{
	return pkt->tuple.proto == (pkt->family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline u8 icmp_class(u8 proto, u8 type)
{
	if (proto == IPPROTO_ICMP) {
		if (type == 8)
			return ICMP_REQUEST;
		if (type == 0)
			return ICMP_ANSWER;
		/* unreachable, time exceeded, parameter problem */
		return type == 3 || type == 11 || type == 12 ? ICMP_ERROR : ICMP_OTHER;
	}
	if (type == 128)
		return ICMP_REQUEST;
	if (type == 129)
		return ICMP_ANSWER;
	/* the same three and packet too big */
	return type >= 1 && type <= 4 ? ICMP_ERROR : ICMP_OTHER;
}

static __always_inline int parse_icmp(struct __sk_buff *skb, struct packet *pkt)
{
	u8 head[8] __attribute__((aligned(8)));

	if (pkt->l4_offset + sizeof(head) > pkt->end ||
		bpf_skb_load_bytes(skb, pkt->l4_offset, head, sizeof(head)))
		return DROP_INVALID_L4_HEADER;
	pkt->icmp_type = head[0];
	pkt->icmp_code = head[1];
	pkt->icmp = icmp_class(pkt->tuple.proto, head[0]);
	if (pkt->icmp <= ICMP_ANSWER) {
		pkt->tuple.sport = *(__be16 *)&head[4];
		pkt->tuple.dport = *(__be16 *)&head[4];
	}
	return 0;
}

static __always_inline int parse_l4(struct __sk_buff *skb, struct packet *pkt)
{
	switch (pkt->tuple.proto) {
	case IPPROTO_TCP:
		return parse_tcp(skb, pkt);
	case IPPROTO_UDP:
		pkt->has_ports = 1;
		return parse_ports(skb, pkt, sizeof(struct udphdr));
	case IPPROTO_SCTP: /* services do not translate it: its checksum is not a sum */
		return parse_ports(skb, pkt, SCTP_HEADER);
	}
	return is_icmp(pkt) ? parse_icmp(skb, pkt) : 0;
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
	pkt->end = total ? ETH_HLEN + total : skb->len;
	map_v4(&pkt->tuple.saddr, ip->saddr);
	map_v4(&pkt->tuple.daddr, ip->daddr);
	pkt->family = FAMILY_V4;
	pkt->tuple.proto = ip->protocol;
	pkt->l4_offset = ETH_HLEN + header;
	if (ip->frag_off & bpf_htons(0x3fff)) {
		pkt->fragment_ident = ip->id;
		pkt->fragment_proto = ip->protocol;
		pkt->fragment = ip->frag_off & bpf_htons(0x1fff) ? FRAGMENT_LATER : FRAGMENT_FIRST;
	}
	return pkt->fragment == FRAGMENT_LATER ? 0 : parse_l4(skb, pkt);
}

static __always_inline bool is_extension(u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_DESTINATION ||
	       next == NEXT_AUTH || next == NEXT_FRAGMENT;
}

/* Walks to the transport header, or to what a later fragment carries. A drop reason, or 0. */
static __always_inline int skip_extensions(struct __sk_buff *skb, struct packet *pkt, u8 next)
{
	u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	u8 head[8] __attribute__((aligned(8)));

#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (!is_extension(next))
			break;
		if (bpf_skb_load_bytes(skb, offset, head, sizeof(head)))
			return DROP_EXTENSION_HEADER;
		if (next == NEXT_FRAGMENT) {
			__be16 place = *(__be16 *)&head[2];

			if (pkt->fragment)
				return DROP_EXTENSION_HEADER;
			offset += 8;
			if (place & bpf_htons(0xfff9)) { /* else it is whole */
				pkt->fragment_ident = *(u32 *)&head[4];
				pkt->fragment_proto = head[0];
				pkt->fragment = FRAGMENT_FIRST;
			}
			if (place & bpf_htons(0xfff8)) {
				pkt->fragment = FRAGMENT_LATER;
				pkt->tuple.proto = head[0];
				return 0;
			}
		} else if (next == NEXT_AUTH) {
			offset += (head[1] + 2) * 4;
		} else {
			offset += (head[1] + 1) * 8;
		}
		next = head[0];
	}
	if (is_extension(next) || offset > pkt->end)
		return DROP_EXTENSION_HEADER;
	pkt->tuple.proto = next;
	pkt->l4_offset = offset;
	return 0;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct packet *pkt)
{
	struct ipv6hdr *ip = linear(skb, ETH_HLEN + sizeof(*ip));
	int reason;

	if (!ip)
		return DROP_INVALID_PACKET;
	ip = (void *)ip + ETH_HLEN;
	if (ip->version != 6)
		return DROP_INVALID_PACKET;
	pkt->end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (pkt->end > skb->len)
		return DROP_INVALID_PACKET;
	/* Here too a zero length stands for what does not fit, when there are segments. */
	if (ip->payload_len == 0 && skb->gso_size)
		pkt->end = skb->len;
	copy_addr(&pkt->tuple.saddr, &ip->saddr);
	copy_addr(&pkt->tuple.daddr, &ip->daddr);
	pkt->family = FAMILY_V6;
	/* A mapped address on the wire would pass for an IPv4 one in every map. */
	if (is_mapped_v4(&pkt->tuple.saddr) || is_mapped_v4(&pkt->tuple.daddr))
		return DROP_INVALID_PACKET;
	reason = skip_extensions(skb, pkt, ip->nexthdr);
	if (reason || pkt->fragment == FRAGMENT_LATER)
		return reason;
	return parse_l4(skb, pkt);
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *pkt)
{
	if (skb->vlan_present)
		return DROP_UNSUPPORTED_L2;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ENABLE_IPV4 ? parse_v4(skb, pkt) : DROP_UNSUPPORTED_L3;
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ENABLE_IPV6 ? parse_v6(skb, pkt) : DROP_UNSUPPORTED_L3;
	return DROP_UNSUPPORTED_L2;
}
