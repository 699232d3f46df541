/* SPDX-License-Identifier: Apache-2.0 */
/* To a proxy of this node: the mark has a rule lead the packet to the stack's own sockets. There an
 * established one is found as any is, and for a first packet `pick_listener` chooses. */

static __always_inline struct bpf_sock *find_listening(struct __sk_buff *skb, struct packet *pkt)
{
	struct bpf_sock_tuple tuple = {};
	u32 size = sizeof(tuple.ipv4);

	if (pkt->family == FAMILY_V4) {
		tuple.ipv4.daddr = bpf_htonl(0x7f000001);
		tuple.ipv4.dport = pkt->proxy_port;
	} else {
		tuple.ipv6.daddr[3] = bpf_htonl(1);
		tuple.ipv6.dport = pkt->proxy_port;
		size = sizeof(tuple.ipv6);
	}
	if (pkt->tuple.proto == IPPROTO_TCP)
		return bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Has the listener where `pick_listener` looks. A socket leaves the map when it is closed, so one
 * that is missing is new, or nobody listens. */
static __always_inline bool has_listener(struct __sk_buff *skb, struct packet *pkt)
{
	struct listener_key key = {
		.port = pkt->proxy_port,
		.protocol = pkt->tuple.proto,
		.family = pkt->family,
	};
	struct bpf_sock *sk = (void *)listeners.lookup(&key);
	bool listens;

	if (sk) {
		bpf_sk_release(sk);
		return true;
	}
	sk = find_listening(skb, pkt);
	if (!sk)
		return false;
	listens = (pkt->tuple.proto == IPPROTO_UDP || sk->state == TCP_STATE_LISTEN) &&
		  !listeners.update(&key, (void *)sk);
	bpf_sk_release(sk);
	return listens;
}

/* Makes the segment one that resets the connection of a proxy that no longer applies. Its client
 * sends it again, and then meets the listener that does, which does not know the connection. */
static __always_inline int make_reset(struct __sk_buff *skb, struct packet *pkt)
{
	u32 place = pkt->l4_offset + offsetof(struct tcphdr, ack_seq) + 4;
	u8 old[2], new[2];

	if (bpf_skb_load_bytes(skb, place, old, sizeof(old)))
		return DROP_WRITE;
	new[0] = old[0];
	new[1] = TCP_RST | TCP_ACK;
	if (bpf_l4_csum_replace(skb, pkt->l4_offset + offsetof(struct tcphdr, check), *(u16 *)old,
		    *(u16 *)new, 2))
		return DROP_L4_CHECKSUM;
	return bpf_skb_store_bytes(skb, place, new, sizeof(new), 0) ? DROP_WRITE : 0;
}

int to_proxy(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	int reason;

	if (!pkt)
		return TC_ACT_SHOT;
	/* Only what may be a connection's first packet at its proxy needs the listener. */
	if (pkt->proxy_port && (pkt->judged || opens(pkt) || pkt->tuple.proto == IPPROTO_UDP) &&
		!has_listener(skb, pkt))
		return drop(skb, pkt, DROP_LISTENER_GONE, pkt->direction);
	if (pkt->cut) {
		reason = make_reset(skb, pkt);
		if (reason)
			return drop(skb, pkt, reason, pkt->direction);
	}
	trace(skb, pkt, OBSERVE_TO_PROXY, 0);
	count(REASON_FORWARDED, pkt->direction, skb->len);
	skb->mark = MARK_TO_PROXY;
	/* Frames from the overlay carry no MAC of ours, which the stack would not accept. */
	if (pkt->origin == ORIGIN_OVERLAY)
		bpf_skb_change_type(skb, PACKET_HOST);
	/* The stack has sent it already: back in. */
	if (pkt->origin == ORIGIN_HOST)
		return bpf_redirect(HOST_IFINDEX, BPF_F_INGRESS);
	return TC_ACT_OK;
}
