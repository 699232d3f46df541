/* SPDX-License-Identifier: Apache-2.0 */
/* Last stage: to a pod of this node, to this node's stack, or to the node that has the address. */

static __always_inline int forwarded(struct __sk_buff *skb, const struct packet *pkt)
{
	count(REASON_FORWARDED, direction_of(pkt), skb->len);
	return TC_ACT_OK;
}

static __always_inline int to_local(
	struct __sk_buff *skb, const struct packet *pkt, const struct endpoint_info *endpoint)
{
	int reason;

	if (endpoint->flags & ENDPOINT_HOST) {
		/* Frames from the overlay carry no MAC of ours, which the stack would not accept.
		 */
		if (pkt->origin == ORIGIN_OVERLAY)
			bpf_skb_change_type(skb, PACKET_HOST);
		return forwarded(skb, pkt);
	}
	reason = route_to(skb, pkt, endpoint);
	if (reason)
		return drop(skb, reason, direction_of(pkt));
	count(REASON_FORWARDED, direction_of(pkt), skb->len);
	/* Only ingress hooks may hop straight into the pod's namespace. */
	return pkt->origin == ORIGIN_HOST ? bpf_redirect(endpoint->ifindex, 0)
					  : bpf_redirect_peer(endpoint->ifindex, 0);
}

/* Multicast, and the link's own addresses: never behind a node. */
static __always_inline bool is_link_scope(const struct packet *pkt)
{
	u32 top = bpf_ntohl(pkt->tuple.daddr.w[0]);

	if (pkt->family == FAMILY_V4)
		return (bpf_ntohl(pkt->tuple.daddr.w[3]) & 0xf0000000) == 0xe0000000;
	return top >> 24 == 0xff || (top & 0xffc00000) == 0xfe800000;
}

int deliver(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	struct endpoint_info *endpoint;
	struct addr *node;

	if (!pkt)
		return TC_ACT_SHOT;
	if (!pkt->elsewhere) {
		endpoint = endpoints.lookup((struct endpoint_key *)&pkt->tuple.daddr);
		if (endpoint)
			return to_local(skb, pkt, endpoint);
	}
	/* What another node sends here is for here: no transit, and no loop between two nodes that
	 * both believe the other has an address. */
	if (pkt->origin == ORIGIN_OVERLAY)
		return drop(skb, DROP_UNROUTABLE, DIRECTION_INGRESS);
	node = find_tunnel(&pkt->tuple.daddr);
	if (node)
		return send_to_node(skb, pkt, node);
	/* The stack has routed to cilium_host because it took the address for a pod's: it would
	 * come back for ever. From a pod, the rest is the world's and the stack's business. */
	if (pkt->origin == ORIGIN_HOST && !is_link_scope(pkt))
		return drop(skb, DROP_UNROUTABLE, DIRECTION_EGRESS);
	return forwarded(skb, pkt);
}
