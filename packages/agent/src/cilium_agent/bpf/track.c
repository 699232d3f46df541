/* SPDX-License-Identifier: Apache-2.0 */
/* Both policies' first look: a packet of a connection that is known and still current goes on at
 * once, others are judged. What a pod sends on one goes through without a tail call. */

/* Behind the sender's policy comes the receiver's, if that is a pod of this node. What a proxy
 * takes ends here: the proxy goes on with a connection of its own. */
static __always_inline int pass(struct __sk_buff *skb, struct packet *pkt)
{
	if (pkt->proxy_port)
		go(skb, CALL_PROXY);
	else if (pkt->direction == DIRECTION_EGRESS && to_pod(pkt))
		go(skb, CALL_INGRESS);
	else
		go(skb, CALL_DELIVER);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, pkt->direction);
}

/* A connection that began before its address became a service's is that service's from now on. */
static __always_inline bool wants_translation(const struct packet *pkt, int known)
{
	if (!pkt->has_ports || pkt->translated || pkt->state == STATE_REPLY)
		return false;
	return known == TRACK_NEW || (!to_pod(pkt) && find_service(&pkt->tuple.daddr,
							      pkt->tuple.dport, pkt->tuple.proto));
}

static __always_inline int track_ingress(struct __sk_buff *skb, struct packet *pkt)
{
	int known;

	start_judging(pkt, DIRECTION_INGRESS);
	if (pkt->icmp >= ICMP_ERROR) {
		go(skb, CALL_RELATED);
		return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_INGRESS);
	}
	if (answers_proxy(skb, pkt, DIRECTION_INGRESS)) {
		go(skb, CALL_PROXY);
		return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_INGRESS);
	}
	known = track(skb, pkt, &pkt->target, pkt->source_identity);
	if (known == TRACK_PASS && !pkt->proxy_port)
		return deliver_now(skb, pkt);
	if (known == TRACK_ENDED)
		return drop(skb, pkt, DROP_POLICY, DIRECTION_INGRESS);
	if (known == TRACK_RENEW)
		go(skb, CALL_RENEW);
	else if (known == TRACK_PASS)
		go(skb, CALL_PROXY);
	else
		go(skb, CALL_JUDGE);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_INGRESS);
}

static __always_inline int track_egress(struct __sk_buff *skb, struct packet *pkt)
{
	int known;

	if (!locate(pkt))
		return TC_ACT_SHOT;
	start_judging(pkt, DIRECTION_EGRESS);
	if (pkt->icmp >= ICMP_ERROR) {
		go(skb, CALL_RELATED);
		return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_EGRESS);
	}
	if (answers_proxy(skb, pkt, DIRECTION_EGRESS)) {
		go(skb, CALL_PROXY);
		return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_EGRESS);
	}
	known = track(skb, pkt, &pkt->source, pkt->target_identity);
	if (known == TRACK_ENDED)
		return drop(skb, pkt, DROP_POLICY, DIRECTION_EGRESS);
	if (known == TRACK_RENEW)
		go(skb, CALL_RENEW);
	else if (wants_translation(pkt, known))
		go(skb, CALL_TRANSLATE);
	else if (known == TRACK_PASS && pkt->proxy_port)
		go(skb, CALL_PROXY);
	else if (known == TRACK_PASS)
		return to_pod(pkt) ? track_ingress(skb, pkt) : deliver_now(skb, pkt);
	else
		go(skb, CALL_JUDGE);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_EGRESS);
}

int egress(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	return pkt ? track_egress(skb, pkt) : TC_ACT_SHOT;
}

int ingress(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	return pkt ? track_ingress(skb, pkt) : TC_ACT_SHOT;
}
