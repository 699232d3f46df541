/* SPDX-License-Identifier: Apache-2.0 */
/* Last stage: to a pod of this node, to this node's stack, or to the node that has the address. */

static __always_inline int forwarded(struct __sk_buff *skb, const struct packet *pkt, u8 observed)
{
	trace(skb, pkt, observed, 0);
	count(REASON_FORWARDED, direction_of(pkt), skb->len);
	return TC_ACT_OK;
}

/* Behind both policies, which judge backends: an answer through a service comes from the service's
 * address, and a pod that reaches itself through one sees the service as the client. */
static __always_inline int show_service(struct __sk_buff *skb, struct packet *pkt)
{
	struct translation_info *known;

	if (pkt->hairpin)
		return rewrite(skb, pkt, SIDE_SOURCE, &pkt->frontend, pkt->tuple.sport);
	if (!pkt->reverse)
		return 0;
	known = translations.lookup(&pkt->tuple);
	if (!known || !(known->flags & TRANSLATION_SOURCE))
		return 0;
	return rewrite(skb, pkt, SIDE_SOURCE, &known->addr, known->port);
}

static __always_inline int to_local(struct __sk_buff *skb, struct packet *pkt)
{
	int reason;

	if (pkt->target.flags & ENDPOINT_HOST) {
		/* Frames from the overlay carry no MAC of ours, which the stack would not accept.
		 */
		if (pkt->origin == ORIGIN_OVERLAY)
			bpf_skb_change_type(skb, PACKET_HOST);
		return forwarded(skb, pkt, OBSERVE_TO_HOST);
	}
	reason = route_to(skb, pkt, &pkt->target);
	if (reason)
		return drop(skb, pkt, reason, direction_of(pkt));
	trace(skb, pkt, OBSERVE_TO_ENDPOINT, pkt->target.ifindex);
	reason = show_service(skb, pkt);
	if (reason)
		return drop(skb, pkt, reason, direction_of(pkt));
	count(REASON_FORWARDED, direction_of(pkt), skb->len);
	/* Only ingress hooks may hop straight into the pod's namespace. */
	return pkt->origin == ORIGIN_HOST ? bpf_redirect(pkt->target.ifindex, 0)
					  : bpf_redirect_peer(pkt->target.ifindex, 0);
}

/* Multicast, and the link's own addresses: never behind a node. */
static __always_inline bool is_link_scope(const struct packet *pkt)
{
	u32 top = bpf_ntohl(pkt->tuple.daddr.w[0]);

	if (pkt->family == FAMILY_V4)
		return (bpf_ntohl(pkt->tuple.daddr.w[3]) & 0xf0000000) == 0xe0000000;
	return top >> 24 == 0xff || (top & 0xffc00000) == 0xfe800000;
}

/* A pod that speaks to a node's tunnel itself could say that it is anybody. Nodes have more
 * addresses than they tell, so nothing for a tunnel leaves but to pods. */
static __always_inline bool forges_tunnel(const struct packet *pkt)
{
	bool outside = !pkt->local && is_unset(&pkt->node);

	return pkt->origin == ORIGIN_CONTAINER && pkt->tuple.proto == IPPROTO_UDP &&
	       pkt->tuple.dport == bpf_htons(TUNNEL_PORT) &&
	       (outside || pkt->target_identity == IDENTITY_HOST ||
		       pkt->target_identity == IDENTITY_REMOTE_NODE ||
		       pkt->target_identity == IDENTITY_KUBE_APISERVER);
}

static __always_inline int deliver_now(struct __sk_buff *skb, struct packet *pkt)
{
	if (forges_tunnel(pkt))
		return drop(skb, pkt, DROP_ENCAPSULATED, DIRECTION_EGRESS);
	if (pkt->local)
		return to_local(skb, pkt);
	/* What another node sends here is for here: no transit, and no loop between two nodes that
	 * both believe the other has an address. */
	if (pkt->origin == ORIGIN_OVERLAY)
		return drop(skb, pkt, DROP_UNROUTABLE, DIRECTION_INGRESS);
	if (!is_unset(&pkt->node))
		return send_to_node(skb, pkt);
	/* The stack has routed to cilium_host because it took the address for a pod's: it would
	 * come back for ever. From a pod, the rest is the world's and the stack's business. */
	if (pkt->origin == ORIGIN_HOST && !is_link_scope(pkt))
		return drop(skb, pkt, DROP_UNROUTABLE, DIRECTION_EGRESS);
	return forwarded(skb, pkt, OBSERVE_TO_STACK);
}

int deliver(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	return pkt ? deliver_now(skb, pkt) : TC_ACT_SHOT;
}
