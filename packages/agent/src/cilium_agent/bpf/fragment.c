/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams in pieces: the first one's transport header speaks for all. */

static __always_inline struct fragment_key fragment_key_of(const struct packet *pkt)
{
	struct fragment_key key = {
		.saddr = pkt->tuple.saddr,
		.daddr = pkt->tuple.daddr,
		.ident = pkt->fragment_ident,
		.proto = pkt->fragment_proto,
	};

	return key;
}

static __always_inline void remember_fragment(const struct packet *pkt)
{
	struct fragment_key key = fragment_key_of(pkt);
	struct fragment_info info = {
		.sport = pkt->tuple.sport,
		.dport = pkt->tuple.dport,
		.proto = pkt->tuple.proto,
		.icmp_type = pkt->icmp_type,
		.icmp_code = pkt->icmp_code,
	};

	fragments.update(&key, &info); /* if it fails, the later ones are dropped */
}

static __always_inline bool recall_fragment(struct packet *pkt)
{
	struct fragment_key key = fragment_key_of(pkt);
	struct fragment_info *info = fragments.lookup(&key);

	if (!info)
		return false;
	pkt->tuple.sport = info->sport;
	pkt->tuple.dport = info->dport;
	pkt->tuple.proto = info->proto;
	pkt->icmp_type = info->icmp_type;
	pkt->icmp_code = info->icmp_code;
	pkt->has_ports = info->proto == IPPROTO_TCP || info->proto == IPPROTO_UDP;
	if (is_icmp(pkt))
		pkt->icmp = icmp_class(info->proto, info->icmp_type);
	return true;
}

int fragment(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	if (!pkt)
		return TC_ACT_SHOT;
	if (pkt->fragment == FRAGMENT_FIRST)
		remember_fragment(pkt);
	else if (!recall_fragment(pkt))
		return drop(skb, pkt, DROP_FRAGMENT_NOT_FOUND, direction_of(pkt));
	return to_first_policy(skb, pkt);
}
