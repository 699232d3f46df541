/* SPDX-License-Identifier: Apache-2.0 */
/* From the entry programs to the first policy that the packet meets. */
#pragma once

/* A pod's own policy comes first; what comes from elsewhere meets the receiver's, if any. */
static __always_inline int to_first_policy(struct __sk_buff *skb, struct packet *pkt)
{
	if (pkt->origin == ORIGIN_CONTAINER) {
		go(skb, CALL_EGRESS);
	} else {
		if (!locate(pkt))
			return TC_ACT_SHOT;
		if (to_pod(pkt) && pkt->leg != LEG_INGRESS)
			go(skb, CALL_INGRESS);
		else
			go(skb, CALL_DELIVER);
	}
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, pkt->direction);
}

static __always_inline int first_stage(struct __sk_buff *skb, struct packet *pkt)
{
	if (!pkt->fragment)
		return to_first_policy(skb, pkt);
	go(skb, CALL_FRAGMENT);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, pkt->direction);
}
