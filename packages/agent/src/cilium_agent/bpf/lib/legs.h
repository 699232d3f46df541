/* SPDX-License-Identifier: Apache-2.0 */
/* Legs: the connections that proxies of this node open in the name of a pod, by sockets that have
 * the pod's address. Their packets are told by their marks, the answers by the entry that those
 * left. Ports of legs are nobody else's, so that pods' own packets ask for nothing here. */
#pragma once

#define LEG_EGRESS  1 /* towards a server: the sender's policy is done with it */
#define LEG_INGRESS 2 /* towards a pod of this node, whose policy is done with it */

#define TCP_STATE_LISTEN 10

static __always_inline bool is_leg_port(__be16 port)
{
	return bpf_ntohs(port) >= LEG_FIRST_PORT;
}

/* A pod that sends from such a port could not be told from the proxy that speaks for it. */
static __always_inline bool looks_like_leg(const struct packet *pkt, u8 direction)
{
	return direction == DIRECTION_EGRESS && is_leg_port(pkt->tuple.sport);
}

/* The mark alone is not enough: a proxy's answers to clients may carry it as well. */
static __always_inline u8 leg_of(u32 mark, const struct packet *pkt)
{
	u32 magic = mark & MARK_MAGIC_MASK;

	if (!pkt->has_ports || !is_leg_port(pkt->tuple.sport))
		return 0;
	if (magic == MARK_INGRESS_PROXY)
		return LEG_INGRESS;
	return magic == MARK_EGRESS_PROXY || magic == MARK_DNS_PROXY ? LEG_EGRESS : 0;
}

/* One entry a leg, whoever answers it: `local` is the proxy's socket. */
static __always_inline void set_leg_key(struct packet *pkt, bool answer)
{
	set_key(pkt, answer ? DIRECTION_INGRESS : DIRECTION_EGRESS);
	pkt->key.direction = DIRECTION_EGRESS;
	pkt->key.leg = 1;
}

static __always_inline int open_leg(struct __sk_buff *skb, struct packet *pkt, u16 flags)
{
	struct connection_info info = {
		.flags = flags | (opens(pkt) ? 0 : CONNECTION_SEEN_NON_SYN),
		.peer_identity = pkt->target_identity,
		.tx_packets = 1,
		.tx_bytes = skb->len,
		.tx_reported = pkt->now,
		.tx_tcp_flags = pkt->tcp_flags,
		.expires = pkt->now + lifetime(pkt, flags),
	};

	return connections.update(&pkt->key, &info);
}

/* Notes what a proxy sends. Non-zero when the map refuses it. */
static __always_inline int keep_leg(struct __sk_buff *skb, struct packet *pkt)
{
	u16 flags = pkt->leg == LEG_INGRESS ? CONNECTION_INGRESS_LEG : 0;
	struct connection_info *info;

	start_judging(pkt, DIRECTION_EGRESS);
	set_leg_key(pkt, false);
	info = find_connection(pkt);
	if (!info || opens(pkt) || (info->flags & CONNECTION_INGRESS_LEG) != flags)
		return open_leg(skb, pkt, flags);
	touch(skb, pkt, info, true);
	return 0;
}

/* Whether the packet, which is where the endpoint judges it in this direction, goes back to a
 * proxy: from a pod to which one has opened a leg, or towards a pod in whose name one has. */
static __always_inline bool answers_proxy(struct __sk_buff *skb, struct packet *pkt, u8 direction)
{
	struct connection_info *info;
	bool found = false;

	if (!pkt->has_ports || !is_leg_port(pkt->tuple.dport))
		return false;
	set_leg_key(pkt, true);
	info = find_connection(pkt);
	if (info && !(info->flags & CONNECTION_INGRESS_LEG) == (direction == DIRECTION_INGRESS)) {
		touch(skb, pkt, info, false);
		found = true;
	}
	set_key(pkt, direction);
	return found;
}

/* Volatile: the verifier knows a socket's members only at their own constant offsets. */
static __always_inline bool is_bound_to(
	volatile const struct bpf_sock *sk, const struct packet *pkt)
{
	const u32 *own = pkt->tuple.daddr.w;
	u32 v4 = sk->src_ip4, a = sk->src_ip6[0], b = sk->src_ip6[1], c = sk->src_ip6[2],
	    d = sk->src_ip6[3];

	if (pkt->family == FAMILY_V4)
		return v4 == own[3];
	return a == own[0] && b == own[1] && c == own[2] && d == own[3];
}

/* What a proxy sends to the node itself, or beyond it, passes none of our programs. The first
 * answer finds its socket and leaves the entry for the others. Only proxies have pods' addresses
 * here. */
static __always_inline bool finds_proxy(struct __sk_buff *skb, struct packet *pkt)
{
	const struct addr *own = &pkt->tuple.daddr;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool found;
	u32 size;

	if (!pkt->has_ports || opens(pkt) || !is_leg_port(pkt->tuple.dport))
		return false;
	if (pkt->family == FAMILY_V4) {
		tuple.ipv4.saddr = pkt->tuple.saddr.w[3];
		tuple.ipv4.daddr = own->w[3];
		tuple.ipv4.sport = pkt->tuple.sport;
		tuple.ipv4.dport = pkt->tuple.dport;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &pkt->tuple.saddr, sizeof(struct addr));
		__builtin_memcpy(tuple.ipv6.daddr, own, sizeof(struct addr));
		tuple.ipv6.sport = pkt->tuple.sport;
		tuple.ipv6.dport = pkt->tuple.dport;
		size = sizeof(tuple.ipv6);
	}
	sk = pkt->tuple.proto == IPPROTO_TCP
		     ? bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0)
		     : bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	found = sk->state != TCP_STATE_LISTEN && is_bound_to(sk, pkt);
	bpf_sk_release(sk);
	if (!found)
		return false;
	set_leg_key(pkt, true);
	return !open_leg(skb, pkt, 0);
}
