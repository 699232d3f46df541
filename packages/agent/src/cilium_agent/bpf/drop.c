/* SPDX-License-Identifier: Apache-2.0 */
/* Where every packet that is dropped with a reason ends: one counter, one event. */

int drop_packet(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();

	if (!pkt)
		return TC_ACT_SHOT;
	count(pkt->reason, pkt->direction, skb->len);
	if (reports(EVENT_DROP))
		report(skb, pkt, EVENT_DROP, pkt->reason, skb->ifindex);
	return TC_ACT_SHOT;
}
