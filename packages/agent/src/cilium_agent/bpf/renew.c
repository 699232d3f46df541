/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a connection that the endpoint's policy has changed under: they pass as long as what
 * they answer would. Else who only answers would keep up what nobody may open any more. */

#define ECHO_REQUEST_V4 8
#define ECHO_REQUEST_V6 128

/* The verdict on the packet that opened the connection, as if this peer were at its other end. */
static __always_inline u8 judge_opening(
	struct packet *pkt, const struct endpoint_info *own, u32 peer, u8 direction)
{
	u16 request = pkt->family == FAMILY_V4 ? ECHO_REQUEST_V4 : ECHO_REQUEST_V6;
	__be16 port = pkt->icmp ? bpf_htons(request) : pkt->tuple.sport;
	u8 reason;

	if (!is_enforced(own, direction, peer))
		return 0;
	reason = policy_verdict(pkt, own->policy, direction, port, peer);
	/* What decided is of the other direction than the packet: its events must not say so. */
	pkt->match = 0;
	pkt->row_prefixlen = 0;
	pkt->word = 0;
	pkt->bits = 0;
	return reason;
}

/* The peer's identity of then, and if that may not, the one of now, as which the endpoint's own
 * next packet would be judged: a prefix may have got another number with the policy. */
static __always_inline bool may_go_on(struct packet *pkt, struct connection_info *info,
	const struct endpoint_info *own, u32 peer, u8 direction)
{
	u32 then = info->peer_identity;

	if (!judge_opening(pkt, own, then, direction)) {
		pkt->stranger = peer != then;
		return true;
	}
	if (peer == then || judge_opening(pkt, own, peer, direction))
		return false;
	info->peer_identity = peer;
	return true;
}

static __always_inline int renew_for(struct __sk_buff *skb, struct packet *pkt,
	const struct endpoint_info *own, u32 peer, u8 direction)
{
	struct connection_info *info;

	pkt->key.direction = opposite(direction);
	info = connections.lookup(&pkt->key);
	if (info && may_go_on(pkt, info, own, peer, opposite(direction))) {
		/* Answers of one that is to be led elsewhere pass until its next packet is. */
		if (leads_to(info, pkt->proxy_port))
			info->revision = own->revision;
		pkt->proxy_port = 0;
		touch(skb, pkt, info, false);
		return pass(skb, pkt);
	}
	end_connection(pkt);
	if (info && pkt->tuple.proto == IPPROTO_TCP)
		return drop(skb, pkt, DROP_POLICY, direction);
	/* Nothing is known of it any more: it is a first packet like others. */
	if (direction == DIRECTION_EGRESS)
		go(skb, CALL_EGRESS);
	else
		go(skb, CALL_INGRESS);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, direction);
}

int renew(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	if (!pkt)
		return TC_ACT_SHOT;
	if (pkt->direction == DIRECTION_EGRESS)
		return renew_for(skb, pkt, &pkt->source, pkt->target_identity, DIRECTION_EGRESS);
	return renew_for(skb, pkt, &pkt->target, pkt->source_identity, DIRECTION_INGRESS);
}
