/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors: what they tell of a connection that the endpoint has belongs to it. */

#define ICMP_HEADER 8

struct inner {
	__be16 sport;
	__be16 dport;
	u8 proto;
};

/* Ports of the packet that the error quotes; an echo's are its identifier. */
static __always_inline bool read_inner_l4(
	struct __sk_buff *skb, const struct packet *pkt, u32 offset, struct inner *inner)
{
	u8 head[8] __attribute__((aligned(8)));

	/* At least 8 bytes are quoted. */
	if (offset + sizeof(head) > pkt->end || bpf_skb_load_bytes(skb, offset, head, sizeof(head)))
		return false;
	if (inner->proto == (pkt->family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		inner->sport = inner->dport = *(__be16 *)&head[4];
		return icmp_class(inner->proto, head[0]) <= ICMP_ANSWER;
	}
	inner->sport = *(__be16 *)&head[0];
	inner->dport = *(__be16 *)&head[2];
	return inner->proto == IPPROTO_TCP || inner->proto == IPPROTO_UDP ||
	       inner->proto == IPPROTO_SCTP;
}

static __always_inline bool read_inner_v4(
	struct __sk_buff *skb, struct packet *pkt, struct inner *inner)
{
	u32 offset = pkt->l4_offset + ICMP_HEADER;
	struct iphdr ip;

	if (offset + sizeof(ip) > pkt->end || bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return false;
	if (ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(0x1fff))
		return false;
	inner->proto = ip.protocol;
	/* as the endpoint sees it: it sent what an error to it quotes, and got what its own does */
	if (pkt->direction == DIRECTION_INGRESS) {
		map_v4(&pkt->key.local, ip.saddr);
		map_v4(&pkt->key.peer, ip.daddr);
	} else {
		map_v4(&pkt->key.local, ip.daddr);
		map_v4(&pkt->key.peer, ip.saddr);
	}
	return read_inner_l4(skb, pkt, offset + ip.ihl * 4, inner);
}

static __always_inline bool read_inner_v6(
	struct __sk_buff *skb, struct packet *pkt, struct inner *inner)
{
	u32 offset = pkt->l4_offset + ICMP_HEADER;
	struct ipv6hdr ip;
	u8 head[8] __attribute__((aligned(8)));

	if (offset + sizeof(ip) > pkt->end || bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return false;
	if (ip.version != 6)
		return false;
	inner->proto = ip.nexthdr;
	if (pkt->direction == DIRECTION_INGRESS) {
		__builtin_memcpy(&pkt->key.local, &ip.saddr, sizeof(struct addr));
		__builtin_memcpy(&pkt->key.peer, &ip.daddr, sizeof(struct addr));
	} else {
		__builtin_memcpy(&pkt->key.local, &ip.daddr, sizeof(struct addr));
		__builtin_memcpy(&pkt->key.peer, &ip.saddr, sizeof(struct addr));
	}
	offset += sizeof(ip);
	if (inner->proto == NEXT_FRAGMENT) { /* as in "packet too big" for what was in pieces */
		if (bpf_skb_load_bytes(skb, offset, head, sizeof(head)) ||
			*(__be16 *)&head[2] & bpf_htons(0xfff8))
			return false;
		inner->proto = head[0];
		offset += sizeof(head);
	}
	return read_inner_l4(skb, pkt, offset, inner);
}

static __always_inline bool is_related(struct __sk_buff *skb, struct packet *pkt)
{
	bool inbound = pkt->direction == DIRECTION_INGRESS;
	struct connection_info *info;
	struct inner inner;

	if (pkt->icmp != ICMP_ERROR)
		return false;
	if (!(pkt->family == FAMILY_V4 ? read_inner_v4(skb, pkt, &inner)
				       : read_inner_v6(skb, pkt, &inner)))
		return false;
	if (!same_addr(&pkt->key.local, inbound ? &pkt->tuple.daddr : &pkt->tuple.saddr))
		return false;
	/* An error may come from anybody on the way, but goes to nobody but whom it is about. */
	if (!inbound && !same_addr(&pkt->key.peer, &pkt->tuple.daddr))
		return false;
	pkt->key.local_port = inbound ? inner.sport : inner.dport;
	pkt->key.peer_port = inbound ? inner.dport : inner.sport;
	pkt->key.proto = inner.proto;
	info = find_connection(pkt);
	if (!info) {
		pkt->key.direction = opposite(pkt->direction);
		info = find_connection(pkt);
	}
	if (!info || info->flags & CONNECTION_DENIED)
		return false;
	pkt->report = 1;
	pkt->tx_packets = info->tx_packets;
	pkt->rx_packets = info->rx_packets;
	return true;
}

int related(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	if (!pkt)
		return TC_ACT_SHOT;
	if (is_related(skb, pkt)) {
		pkt->state = STATE_RELATED;
		return pass(skb, pkt);
	}
	pkt->state = STATE_NEW;
	go(skb, CALL_JUDGE);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, pkt->direction);
}
