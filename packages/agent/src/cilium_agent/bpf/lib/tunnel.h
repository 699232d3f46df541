/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the node that an address is behind. */
#pragma once

#define TUNNEL_TTL 64

static __always_inline int send_to_node(struct __sk_buff *skb, struct packet *pkt)
{
	const struct addr *node = &pkt->node;
	struct bpf_tunnel_key key = {
		.tunnel_id = identity_on_wire(pkt),
		.tunnel_ttl = TUNNEL_TTL,
	};
	u64 flags;

	if (is_mapped_v4(node)) {
		key.remote_ipv4 = bpf_ntohl(node->w[3]);
		/* the inner packet has its own checksum */
		flags = BPF_F_ZERO_CSUM_TX;
	} else {
		__builtin_memcpy(key.remote_ipv6, node->w, sizeof(key.remote_ipv6));
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return drop(skb, pkt, DROP_NO_TUNNEL, direction_of(pkt));
	trace(skb, pkt, OBSERVE_TO_OVERLAY, VXLAN_IFINDEX);
	count(REASON_FORWARDED, direction_of(pkt), skb->len);
	return bpf_redirect(VXLAN_IFINDEX, 0);
}
