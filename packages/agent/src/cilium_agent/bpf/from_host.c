/* SPDX-License-Identifier: Apache-2.0 */
/* Egress of cilium_host: what the node's stack routes to pods, here or on other nodes. */

int from_host(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	int reason;

	if (!pkt)
		return TC_ACT_SHOT;
	/* What the device says to its own link (no neighbours there) is nobody's business. */
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_OK;
	begin(pkt, ORIGIN_HOST, DIRECTION_EGRESS);
	reason = parse(skb, pkt);
	if (reason)
		return drop_unparsed(skb, reason, DIRECTION_EGRESS);
	pkt->source_identity = host_identity(skb, pkt);
	pkt->leg = leg_of(skb->mark, pkt);
	if (pkt->leg && keep_leg(skb, pkt))
		return drop(skb, pkt, DROP_CONNECTION_FAILED, DIRECTION_EGRESS);
	return first_stage(skb, pkt);
}
