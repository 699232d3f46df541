/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict of an endpoint's policy: one row for the port, and the peer's bits for each word of
 * peer sets that the row names. Whatever cannot be read is a drop. */
#pragma once

#define FOUND_NOTHING 0
#define FOUND_ALLOW   1
#define FOUND_L7      2

/* cilium_core.layouts.events.MatchType */
#define MATCH_L3_ONLY    1
#define MATCH_L3_L4      2
#define MATCH_L4_ONLY    3
#define MATCH_ALL        4
#define MATCH_L3_PROTO   5
#define MATCH_PROTO_ONLY 6

/* Keeps a loop's counter as written: clang would otherwise count in another form, of which the
 * verifier sees no bound. */
#define keep_counter(i) asm volatile("" : "+r"(i))

/* Which of the word's peer sets have the identity. Hash elements are recycled under readers, and
 * a deny must not be missed because of that: another look finds the row that replaced it. */
static __always_inline bool read_bits(u32 identity, u32 word, u64 *bits)
{
	struct bits_key key = {.identity = identity, .word = word};

#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct bits_info *info = policy_bits.lookup(&key);

		*bits = 0;
		if (!info)
			return true;
		*bits = info->bits;
		barrier();
		if (info->identity == identity && info->word == word)
			return true;
	}
	return false;
}

static __always_inline u8 match_of(u8 prefixlen, bool by_identity)
{
	if (prefixlen <= PREFIX_DIRECTION)
		return by_identity ? MATCH_L3_ONLY : MATCH_ALL;
	if (prefixlen <= PREFIX_PROTOCOL)
		return by_identity ? MATCH_L3_PROTO : MATCH_PROTO_ONLY;
	return by_identity ? MATCH_L3_L4 : MATCH_L4_ONLY;
}

static __always_inline void matched(struct packet *pkt, u32 word, u64 bits)
{
	pkt->match = match_of(pkt->row_prefixlen, bits != 0);
	pkt->word = word;
	pkt->bits = bits;
}

/* Adds one cell to what is `found` so far. Returns a drop reason when it settles the matter. */
static __always_inline u8 weigh(struct packet *pkt, const struct cell *cell, u32 peer, u8 *found)
{
	u32 word = cell->word;
	u64 bits;

	if (!read_bits(peer, word, &bits))
		return DROP_POLICY;
	if (bits & cell->deny) {
		matched(pkt, word, bits & cell->deny);
		return DROP_POLICY_DENY;
	}
	if (*found < FOUND_L7 && bits & cell->l7) {
		*found = FOUND_L7;
		matched(pkt, word, bits & cell->l7);
	} else if (*found < FOUND_ALLOW && bits & cell->allow) {
		*found = FOUND_ALLOW;
		matched(pkt, word, bits & cell->allow);
	}
	return 0;
}

static __always_inline u8 weigh_list(
	struct packet *pkt, u32 list_id, u32 count, u32 peer, u8 *found)
{
	struct list_key key = {.list_id = list_id};

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < LIST_CELLS; i++) {
		struct list_info *info;
		u8 reason;

		keep_counter(i);
		if (i >= count)
			break;
		key.index = i;
		info = policy_lists.lookup(&key);
		if (!info || info->list_id != list_id || info->index != i)
			return DROP_POLICY;
		reason = weigh(pkt, (const struct cell *)&info->word, peer, found);
		if (reason)
			return reason;
	}
	return 0;
}

/* Returns a drop reason, 0 to allow. What matched is left in the packet's facts. */
static __always_inline u8 policy_verdict(struct packet *pkt, u32 policy, u32 peer)
{
	struct row_key key = {
		.prefixlen = PREFIX_PORT,
		.policy = policy,
		.direction = pkt->direction,
		.protocol = pkt->tuple.proto,
		.port = pkt->icmp ? bpf_htons(pkt->icmp_type) : pkt->tuple.dport,
	};
	struct row_info *row = policy_rows.lookup(&key);
	u8 found = FOUND_NOTHING, reason;
	u32 count;

	if (!row)
		return DROP_POLICY;
	pkt->row_prefixlen = row->prefixlen;
	count = row->count;
	if (row->flags & ROW_ANY_DENY) {
		matched(pkt, 0, 0);
		return DROP_POLICY_DENY;
	}
	if (count > ROW_CELLS + LIST_CELLS)
		return DROP_POLICY;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < ROW_CELLS; i++) {
		keep_counter(i);
		if (i >= count)
			break;
		reason = weigh(pkt, &row->cells[i & (ROW_CELLS - 1)], peer, &found);
		if (reason)
			return reason;
	}
	if (count > ROW_CELLS) {
		reason = weigh_list(pkt, row->list_id, count - ROW_CELLS, peer, &found);
		if (reason)
			return reason;
	}
	if (found < FOUND_L7 && row->flags & ROW_ANY_L7) {
		found = FOUND_L7;
		matched(pkt, 0, 0);
	}
	if (found < FOUND_ALLOW && row->flags & ROW_ANY_ALLOW) {
		found = FOUND_ALLOW;
		matched(pkt, 0, 0);
	}
	if (found == FOUND_L7)
		return DROP_NO_LISTENER; /* nobody listens yet, and what is not inspected is not let
					    through */
	return found == FOUND_ALLOW ? 0 : DROP_POLICY;
}
