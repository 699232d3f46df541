/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of one endpoint, for the first packet of a connection and for those that policy or
 * peer have changed under. */

/* Makes the connection's entry. A drop reason when the map refuses it. */
static __always_inline int open_connection(struct __sk_buff *skb, struct packet *pkt,
	const struct endpoint_info *own, u32 peer, u32 service_id)
{
	bool syn = pkt->tcp_flags & TCP_SYN;
	struct connection_info info = {
		.flags = (pkt->tcp_flags && !syn ? CONNECTION_SEEN_NON_SYN : 0) |
			 (pkt->proxy_port ? CONNECTION_PROXY : 0),
		.proxy_port = pkt->proxy_port,
		.peer_identity = peer,
		.revision = own->revision,
		.tx_packets = 1,
		.tx_bytes = skb->len,
		.tx_reported = pkt->now,
		.tx_tcp_flags = pkt->tcp_flags,
		.service_id = service_id,
	};

	info.expires = pkt->now + (is_closed(pkt->tcp_flags, 0) ? LIFETIME_TCP_CLOSE
								: lifetime(pkt, info.flags));
	if (connections.update(&pkt->key, &info))
		return DROP_CONNECTION_FAILED;
	if (pkt->supersedes) {
		pkt->key.direction = opposite(pkt->direction);
		connections.delete(&pkt->key);
	}
	pkt->reverse = pkt->direction == DIRECTION_INGRESS && service_id;
	return 0;
}

/* An answer through a service whose connection has been forgotten is told by its translation. */
static __always_inline u32 service_of(struct packet *pkt)
{
	struct translation_info *known;

	if (pkt->direction == DIRECTION_EGRESS)
		return pkt->service_id;
	if (!pkt->has_ports)
		return 0;
	known = translations.lookup(&pkt->tuple);
	return known && known->flags & TRANSLATION_SOURCE ? known->service_id : 0;
}

static __always_inline int keep_connection(
	struct __sk_buff *skb, struct packet *pkt, const struct endpoint_info *own, u32 peer)
{
	struct connection_info *info;

	if (pkt->icmp > ICMP_REQUEST) /* opens nothing */
		return 0;
	if (pkt->state == STATE_ESTABLISHED) {
		info = connections.lookup(&pkt->key);
		if (info) {
			info->revision = own->revision;
			info->peer_identity = peer;
			info->flags &= ~CONNECTION_DENIED;
			lead(pkt, info);
			touch(skb, pkt, info, true);
			return 0;
		}
	}
	return open_connection(skb, pkt, own, peer, service_of(pkt));
}

/* A TCP connection is marked, not forgotten: its other side would go on with it in the other
 * direction. Other protocols have no such thing as a middle, and start anew. */
static __always_inline void end_connection(struct packet *pkt)
{
	struct connection_info *info;

	if (pkt->tuple.proto != IPPROTO_TCP) {
		connections.delete(&pkt->key);
		return;
	}
	info = connections.lookup(&pkt->key);
	if (info)
		info->flags |= CONNECTION_DENIED;
}

static __always_inline int judge_for(struct __sk_buff *skb, struct packet *pkt,
	const struct endpoint_info *own, u32 peer, u8 direction)
{
	__be16 port = pkt->icmp ? bpf_htons(pkt->icmp_type) : pkt->tuple.dport;
	bool known = pkt->state == STATE_ESTABLISHED;
	int reason = 0;

	if (is_enforced(own, direction, peer)) {
		reason = policy_verdict(pkt, own->policy, direction, port, peer);
		if (pkt->proxy_port && looks_like_leg(pkt, direction))
			reason = DROP_NO_LISTENER;
		if ((reason || !known) && reports(EVENT_POLICY_VERDICT))
			report(skb, pkt, EVENT_POLICY_VERDICT, reason, skb->ifindex);
	}
	if (reason) {
		if (known)
			end_connection(pkt);
		return drop(skb, pkt, reason, direction);
	}
	if (!known) {
		pkt->report = 1;
		pkt->tx_packets = 1;
	}
	pkt->judged = 1;
	reason = keep_connection(skb, pkt, own, peer);
	if (reason)
		return drop(skb, pkt, reason, direction);
	return pass(skb, pkt);
}

int judge(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	if (!pkt)
		return TC_ACT_SHOT;
	if (pkt->direction == DIRECTION_INGRESS && pkt->state == STATE_NEW &&
		finds_proxy(skb, pkt)) {
		go(skb, CALL_PROXY);
		return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_INGRESS);
	}
	if (pkt->direction == DIRECTION_EGRESS)
		return judge_for(skb, pkt, &pkt->source, pkt->target_identity, DIRECTION_EGRESS);
	return judge_for(skb, pkt, &pkt->target, pkt->source_identity, DIRECTION_INGRESS);
}
