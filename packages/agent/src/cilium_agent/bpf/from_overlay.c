/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of cilium_vxlan: what other nodes send, with the sender's identity in the VNI. */

int from_overlay(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	struct bpf_tunnel_key key = {};
	int reason;

	if (!pkt)
		return TC_ACT_SHOT;
	begin(pkt, ORIGIN_OVERLAY, DIRECTION_INGRESS);
	reason = parse(skb, pkt);
	if (reason)
		return drop_unparsed(skb, reason, DIRECTION_INGRESS);
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) &&
		bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		return drop(skb, pkt, DROP_NO_TUNNEL_KEY, DIRECTION_INGRESS);
	/* No node calls itself host on the wire, and none sends a packet that it does not know. */
	if (key.tunnel_id == 0 || key.tunnel_id == IDENTITY_HOST)
		return drop(skb, pkt, DROP_INVALID_IDENTITY, DIRECTION_INGRESS);
	pkt->source_identity = identity_off_wire(pkt, key.tunnel_id);
	return first_stage(skb, pkt);
}
