/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of a pod's host-side device: what the pod sends. */

/* Neighbour and multicast-listener messages concern the link only; the stack answers or ignores
 * them and never forwards them. Pods need none (their gateway is a permanent neighbour). */
static __always_inline bool is_link_control(struct __sk_buff *skb, const struct packet *pkt)
{
	u32 top = bpf_ntohl(pkt->tuple.daddr.w[0]);
	u8 type;

	if (pkt->family != FAMILY_V6 || pkt->tuple.proto != IPPROTO_ICMPV6)
		return false;
	if ((top & 0xffc00000) != 0xfe800000 && (top & 0xff0f0000) != 0xff020000)
		return false;
	if (bpf_skb_load_bytes(skb, pkt->l4_offset, &type, 1))
		return false;
	return (type >= 130 && type <= 137) || type == 143;
}

int from_container(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	struct endpoint_info *endpoint;
	int reason;

	/* A pod may set a mark on its sockets; ours alone mean anything from here on. */
	skb->mark = 0;
	if (!pkt)
		return TC_ACT_SHOT;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;
	pkt->origin = ORIGIN_CONTAINER;
	reason = parse(skb, pkt);
	if (reason)
		return drop(skb, reason, DIRECTION_EGRESS);
	if (is_link_control(skb, pkt))
		return TC_ACT_OK;
	endpoint = endpoints.lookup((struct endpoint_key *)&pkt->tuple.saddr);
	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return drop(skb, DROP_INVALID_SOURCE, DIRECTION_EGRESS);
	pkt->identity = endpoint->identity;
	calls.call(skb, CALL_TRANSLATE);
	return drop(skb, DROP_MISSED_TAIL_CALL, DIRECTION_EGRESS);
}
