/* SPDX-License-Identifier: Apache-2.0 */
/* Connections as their enforcing endpoint sees them: found, kept alive, ended. Sides of the TCP
 * state are bytes of their own (what each has said), so that two CPUs never lose a side's close. */
#pragma once

#define LIFETIME_TCP       21600
#define LIFETIME_TCP_SYN   60
#define LIFETIME_TCP_CLOSE 10
#define LIFETIME_OTHER     60

/* What the packet's connection asks for. */
#define TRACK_PASS  0 /* known and current */
#define TRACK_JUDGE 1 /* known, but policy or peer have changed since */
#define TRACK_NEW   2
#define TRACK_ENDED 3 /* policy has ended it */
#define TRACK_RENEW 4 /* known and answered, but policy has changed since */

static __always_inline bool one_closes(const struct connection_info *info)
{
	return (info->tx_tcp_flags | info->rx_tcp_flags) & (TCP_FIN | TCP_RST);
}

static __always_inline bool is_closed(u8 tx, u8 rx)
{
	return (tx | rx) & TCP_RST || tx & rx & TCP_FIN;
}

static __always_inline bool opens(const struct packet *pkt)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

static __always_inline u8 opposite(u8 direction)
{
	return DIRECTION_INGRESS + DIRECTION_EGRESS - direction;
}

/* The key of the packet's connection for the endpoint that judges it in this direction. */
static __always_inline void set_key(struct packet *pkt, u8 direction)
{
	struct translation_key *tuple = &pkt->tuple;
	struct connection_key *key = &pkt->key;
	u64 tail = *tail_of(tuple) | (u64)direction << 40;

	if (direction == DIRECTION_EGRESS) {
		copy_addr(&key->local, &tuple->saddr);
		copy_addr(&key->peer, &tuple->daddr);
	} else {
		copy_addr(&key->local, &tuple->daddr);
		copy_addr(&key->peer, &tuple->saddr);
		tail = (tail & ~0xffffffffULL) | (tail & 0xffff) << 16 | (tail >> 16 & 0xffff);
	}
	*tail_of(key) = tail;
}

/* What the packet was to the endpoint that judged it before does not count for this one. */
static __always_inline void start_judging(struct packet *pkt, u8 direction)
{
	__builtin_memset(&pkt->tx_packets, 0, sizeof(*pkt) - offsetof(struct packet, tx_packets));
	pkt->direction = direction;
	set_key(pkt, direction);
}

/* An entry past its time is none. */
static __always_inline struct connection_info *find_connection(struct packet *pkt)
{
	struct connection_info *info = connections.lookup(&pkt->key);

	return info && (s32)(info->expires - pkt->now) > 0 ? info : NULL;
}

static __always_inline u32 lifetime(const struct packet *pkt, u16 flags)
{
	if (pkt->tuple.proto != IPPROTO_TCP)
		return LIFETIME_OTHER;
	return flags & CONNECTION_SEEN_NON_SYN ? LIFETIME_TCP : LIFETIME_TCP_SYN;
}

static __always_inline void note(
	struct packet *pkt, const struct connection_info *info, u32 *reported)
{
	*reported = pkt->now;
	pkt->report = 1;
	pkt->tx_packets = info->tx_packets;
	pkt->rx_packets = info->rx_packets;
	if (info->service_id)
		pkt->service_id = info->service_id;
}

/* One more packet of a known connection: counts, state, time left, and whether to report it. */
static __always_inline void touch(
	struct __sk_buff *skb, struct packet *pkt, struct connection_info *info, bool forward)
{
	u8 *side = forward ? &info->tx_tcp_flags : &info->rx_tcp_flags;
	u32 *reported = forward ? &info->tx_reported : &info->rx_reported;
	u8 tx = info->tx_tcp_flags, rx = info->rx_tcp_flags;
	bool was_closed = is_closed(tx, rx), closed;
	u8 news = pkt->tcp_flags & ~*side;
	u32 expires;

	/* Not atomic, which would cost a tenth of the way: where two CPUs have packets of one side
	 * at once, as is rare, one may not be counted. */
	if (forward) {
		info->tx_packets++;
		info->tx_bytes += skb->len;
	} else {
		info->rx_packets++;
		info->rx_bytes += skb->len;
	}
	if (news)
		*side |= news;
	if (pkt->tcp_flags && !(pkt->tcp_flags & TCP_SYN) &&
		!(info->flags & CONNECTION_SEEN_NON_SYN))
		info->flags |= CONNECTION_SEEN_NON_SYN;
	closed = forward ? is_closed(tx | news, rx) : is_closed(tx, rx | news);
	/* What goes on after the end does not prolong it, nor does an answer of somebody else than
	 * was asked: the address may have gone to another. TCP has its own end. */
	if (!was_closed && !(pkt->stranger && pkt->tuple.proto != IPPROTO_TCP)) {
		expires = pkt->now + (closed ? LIFETIME_TCP_CLOSE : lifetime(pkt, info->flags));
		if (info->expires != expires)
			info->expires = expires;
	}
	pkt->closes = closed && !was_closed;
	/* Between two pods of a node the receiver's side reports. */
	if ((pkt->direction == DIRECTION_EGRESS && to_pod(pkt)) || !reports(EVENT_TRACE))
		return;
	if (pkt->closes || news & setting(CONFIG_TRACE_FLAGS) ||
		pkt->now - *reported >= setting(CONFIG_TRACE_INTERVAL))
		note(pkt, info, reported);
}

static __always_inline bool is_current(
	const struct connection_info *info, const struct endpoint_info *own, u32 peer)
{
	return info->revision == own->revision && info->peer_identity == peer &&
	       !(info->flags & CONNECTION_DENIED);
}

/* Whether the packet more likely answers: servers have the lower port. Where both sides have opened
 * a connection with the same ports, either is a good answer. */
static __always_inline bool looks_like_answer(const struct packet *pkt)
{
	if (pkt->icmp)
		return pkt->icmp == ICMP_ANSWER;
	return bpf_ntohs(pkt->tuple.sport) < bpf_ntohs(pkt->tuple.dport);
}

/* Finds the packet's connection: one that its sender opened, or one that it answers. The key's
 * direction is left as found. An echo request is never an answer, and an answer only goes to a
 * request: else having asked a peer would let it ask back. */
static __always_inline struct connection_info *find_either(struct packet *pkt)
{
	struct connection_info *info;

	if (looks_like_answer(pkt))
		pkt->key.direction = opposite(pkt->direction);
	info = find_connection(pkt);
	if (info || pkt->icmp)
		return info;
	pkt->key.direction = opposite(pkt->key.direction);
	return find_connection(pkt);
}

/* Where a current connection's packet is led. One that was turned to a proxy in its middle is reset
 * there, and what its client then answers the server with must reach the server. */
static __always_inline __be16 proxy_of(const struct packet *pkt, const struct connection_info *info)
{
	if (!(info->flags & CONNECTION_PROXY) ||
		(info->flags & CONNECTION_TURNED && pkt->tcp_flags & TCP_RST))
		return 0;
	return info->proxy_port;
}

static __always_inline int track(
	struct __sk_buff *skb, struct packet *pkt, const struct endpoint_info *own, u32 peer)
{
	struct connection_info *info = find_either(pkt);
	bool forward = pkt->key.direction == pkt->direction;

	pkt->key.direction = pkt->direction;
	pkt->state = STATE_NEW;
	if (!info)
		return TRACK_NEW;
	if (forward) {
		if (opens(pkt) && (one_closes(info) || info->flags & CONNECTION_DENIED))
			return TRACK_NEW;
		pkt->state = STATE_ESTABLISHED;
		pkt->reverse = info->service_id != 0;
		if (!is_current(info, own, peer))
			return TRACK_JUDGE;
		pkt->proxy_port = proxy_of(pkt, info);
	} else {
		/* A SYN answers nothing but another SYN. */
		if (opens(pkt) && info->flags & (CONNECTION_SEEN_NON_SYN | CONNECTION_DENIED)) {
			pkt->supersedes = 1;
			return TRACK_NEW;
		}
		if (info->flags & CONNECTION_DENIED)
			return TRACK_ENDED;
		pkt->state = STATE_REPLY;
		pkt->reverse = info->service_id != 0;
		if (info->revision != own->revision)
			return TRACK_RENEW;
		if (info->peer_identity != peer)
			pkt->stranger = 1;
	}
	touch(skb, pkt, info, forward);
	return TRACK_PASS;
}
