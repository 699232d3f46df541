/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of a pod's host-side device: what the pod sends. */

/* Neighbour and multicast-listener messages concern the link only; the stack answers or ignores
 * them and never forwards them. Pods need none (their gateway is a permanent neighbour). */
static __always_inline bool is_link_control(const struct packet *pkt)
{
	u32 top = bpf_ntohl(pkt->tuple.daddr.w[0]);
	u8 type = pkt->icmp_type;

	if (pkt->family != FAMILY_V6 || !pkt->icmp)
		return false;
	if ((top & 0xffc00000) != 0xfe800000 && (top & 0xff0f0000) != 0xff020000)
		return false;
	return (type >= 130 && type <= 137) || type == 143;
}

int from_container(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	int reason;

	/* A pod may set a mark on its sockets; ours alone mean anything from here on. */
	skb->mark = 0;
	if (!pkt)
		return TC_ACT_SHOT;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;
	begin(pkt, ORIGIN_CONTAINER, DIRECTION_EGRESS);
	reason = parse(skb, pkt);
	if (reason)
		return drop_unparsed(skb, reason, DIRECTION_EGRESS);
	if (is_link_control(pkt))
		return TC_ACT_OK;
	if (!find_sender(pkt) || pkt->source.ifindex != skb->ifindex) {
		forget(&pkt->source); /* who lends an address is not who has it */
		return drop(skb, pkt, DROP_INVALID_SOURCE, DIRECTION_EGRESS);
	}
	pkt->source_identity = pkt->source.identity;
	return pkt->fragment ? first_stage(skb, pkt) : track_egress(skb, pkt);
}
