/* SPDX-License-Identifier: Apache-2.0 */
/* Events into the ring, and the way to the stage that counts and reports drops. The reader polls:
 * no submit wakes it, for a wake-up costs more than the event. */
#pragma once

static __always_inline bool reports(u8 type)
{
	return setting(CONFIG_EVENTS) & 1 << type;
}

static __always_inline void count_lost(u32 type)
{
	struct event_lost_info *lost = events_lost.lookup(&type);

	if (lost)
		lost->count++;
}

static __always_inline void report(
	struct __sk_buff *skb, const struct packet *pkt, u8 type, u8 subtype, u32 ifindex)
{
	const struct endpoint_info *own =
		pkt->direction == DIRECTION_INGRESS ? &pkt->target : &pkt->source;
	struct event *event = events.ringbuf_reserve(sizeof(*event));

	if (!event) {
		count_lost(type);
		return;
	}
	event->time = bpf_ktime_get_boot_ns();
	event->type = type;
	event->subtype = subtype;
	event->direction = pkt->direction;
	event->flags = (pkt->family == FAMILY_V6 ? EVENT_IPV6 : 0) |
		       (pkt->closes ? EVENT_CLOSE : 0) | (pkt->fragment ? EVENT_FRAGMENT : 0);
	event->state = pkt->state;
	event->match = pkt->match;
	event->proto = pkt->tuple.proto;
	event->tcp_flags = pkt->tcp_flags;
	event->source_identity = pkt->source_identity;
	event->destination_identity = pkt->target_identity;
	event->source = pkt->tuple.saddr;
	event->destination = pkt->tuple.daddr;
	event->sport = pkt->tuple.sport;
	event->dport = pkt->tuple.dport;
	event->endpoint_id = own->endpoint_id;
	event->icmp_type = pkt->icmp_type;
	event->icmp_code = pkt->icmp_code;
	event->ifindex = ifindex;
	event->length = skb->len;
	event->policy = own->policy;
	event->revision = own->revision;
	event->bits = pkt->bits;
	event->word = pkt->word;
	event->row_prefixlen = pkt->row_prefixlen;
	event->service_id = pkt->service_id;
	event->line = pkt->line;
	event->proxy_port = pkt->proxy_port;
	event->tx_packets = pkt->tx_packets;
	event->rx_packets = pkt->rx_packets;
	event->pad2 = 0;
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline void trace(
	struct __sk_buff *skb, const struct packet *pkt, u8 observed, u32 ifindex)
{
	if (pkt->report && reports(EVENT_TRACE))
		report(skb, pkt, EVENT_TRACE, observed, ifindex);
}

static __always_inline int drop_at(
	struct __sk_buff *skb, struct packet *pkt, u8 reason, u8 direction, u16 line)
{
	pkt->reason = reason;
	pkt->direction = direction;
	pkt->line = line;
	go(skb, CALL_DROP);
	return drop_unparsed(skb, reason, direction);
}

#define drop(skb, pkt, reason, direction) drop_at(skb, pkt, reason, direction, __LINE__)
