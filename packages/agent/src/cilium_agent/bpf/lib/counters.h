/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons (upstream's numbers, as tools print them) and the counters of packets by reason. */
#pragma once

#define REASON_FORWARDED        0
#define REASON_NO_SLOT          5
#define REASON_NO_BACKEND       6
#define REASON_REVERSE_FAILED   7
#define DROP_INVALID_SOURCE     132
#define DROP_POLICY             133
#define DROP_INVALID_PACKET     134
#define DROP_INVALID_L4_HEADER  135
#define DROP_UNSUPPORTED_L3     139
#define DROP_MISSED_TAIL_CALL   140
#define DROP_WRITE              141
#define DROP_NO_TUNNEL_KEY      147
#define DROP_UNROUTABLE         151
#define DROP_L3_CHECKSUM        153
#define DROP_L4_CHECKSUM        154
#define DROP_CONNECTION_FAILED  155
#define DROP_EXTENSION_HEADER   156
#define DROP_NO_SERVICE         158
#define DROP_NO_TUNNEL          160
#define DROP_UNSUPPORTED_L2     166
#define DROP_ENCAPSULATED       170
#define DROP_INVALID_IDENTITY   171
#define DROP_FRAGMENT_NOT_FOUND 175
#define DROP_LISTENER_GONE      178
#define DROP_NO_LISTENER        180
#define DROP_POLICY_DENY        181
#define DROP_TTL_EXCEEDED       196

#define DIRECTION_INGRESS 1
#define DIRECTION_EGRESS  2

static __always_inline u64 setting(u32 index)
{
	struct config_info *info = config.lookup(&index);

	return info ? info->value : 0;
}

static __always_inline void count(u8 reason, u8 direction, u32 length)
{
	u32 index = reason | direction << 8; /* a metrics_key read as a number */
	struct metrics_info *info = metrics.lookup(&index);

	if (info) {
		info->count++;
		info->bytes += length;
	}
}

/* For a frame of which nothing can be said yet. */
static __always_inline int drop_unparsed(struct __sk_buff *skb, u8 reason, u8 direction)
{
	count(reason, direction, skb->len);
	return TC_ACT_SHOT;
}
