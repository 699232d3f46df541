/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict of an endpoint's policy: one row for the port, and the peer's bits for each word of
 * peer sets that the row names. Whatever cannot be read is a drop. */
#pragma once

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
	struct bits_info *info;

	*bits = 0;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		info = policy_bits.lookup(&key);
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
	pkt->word = bits ? word : 0;
	pkt->bits = bits;
}

/* What the cells have said so far: the sets that first led to L7 rules and that first allowed. */
struct sum {
	u64 l7;
	u64 allow;
	u32 l7_word;
	u32 allow_word;
};

/* Adds one cell. Returns a drop reason when it settles the matter. */
static __always_inline u8 weigh(
	struct packet *pkt, const struct cell *cell, u32 peer, struct sum *sum)
{
	u32 word = cell->word;
	u64 bits;

	if (!read_bits(peer, word, &bits))
		return DROP_POLICY;
	if (bits & cell->deny) {
		matched(pkt, word, bits & cell->deny);
		return DROP_POLICY_DENY;
	}
	if (!sum->l7) {
		sum->l7 = bits & cell->l7;
		sum->l7_word = word;
	}
	if (!sum->allow) {
		sum->allow = bits & cell->allow;
		sum->allow_word = word;
	}
	return 0;
}

static __always_inline u8 weigh_list(
	struct packet *pkt, u32 list_id, u32 count, u32 peer, struct sum *sum)
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
		reason = weigh(pkt, (const struct cell *)&info->word, peer, sum);
		if (reason)
			return reason;
	}
	return 0;
}

/* Whether an endpoint's policy has a say. The node's own probes always reach its pods. */
static __always_inline bool is_enforced(const struct endpoint_info *own, u8 direction, u32 peer)
{
	return own->policy && !(direction == DIRECTION_INGRESS && peer == IDENTITY_HOST);
}

/* A row that the longest-prefix tree has given for a port. */
struct known_row {
	struct stamp stamp;
	u32 name; /* direction, protocol and port */
	u32 policy;
	struct row_info row;
};

#define KNOWN_ROW_BITS 8

BPF_PERCPU_ARRAY(known_rows, struct known_row, 1 << KNOWN_ROW_BITS);

/* Finds the row for a port: the deeper the tree, the more it pays to ask it once. The generation is
 * read here, behind the endpoint's revision: rows are written before a revision rises, and a
 * connection that is made under the new one must not have been judged by an old row. */
static __always_inline struct row_info *find_row(
	const struct packet *pkt, u32 policy, u8 direction, __be16 port)
{
	struct row_key key = {
		.prefixlen = PREFIX_PORT,
		.policy = policy,
		.direction = direction,
		.protocol = pkt->tuple.proto,
		.port = port,
	};
	u32 name = (u32)direction << 24 | (u32)pkt->tuple.proto << 16 | port;
	u32 slot = (name ^ policy * 0x85ebca6b) * 0x9e3779b1 >> (32 - KNOWN_ROW_BITS);
	struct known_row *known = known_rows.lookup(&slot);
	u64 now = generation();
	struct row_info *row;

	if (!known)
		return NULL;
	if (known->name != name || known->policy != policy ||
		!is_recent(&known->stamp, now, pkt->now)) {
		row = policy_rows.lookup(&key);
		if (!row)
			return NULL;
		known->name = name;
		known->policy = policy;
		known->row = *row;
		put_stamp(&known->stamp, now, pkt->now);
	}
	return &known->row;
}

/* Returns a drop reason for a first packet to a port (of ICMP: a message of a type), 0 to allow or
 * to lead it to a proxy. What matched, and where to, is left in the packet's facts. */
static __always_inline u8 policy_verdict(
	struct packet *pkt, u32 policy, u8 direction, __be16 port, u32 peer)
{
	struct row_info *row = find_row(pkt, policy, direction, port);
	struct sum sum = {};
	bool known_only;
	u32 count;
	u8 reason;

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
		reason = weigh(pkt, &row->cells[i & (ROW_CELLS - 1)], peer, &sum);
		if (reason)
			return reason;
	}
	if (count > ROW_CELLS) {
		reason = weigh_list(pkt, row->list_id, count - ROW_CELLS, peer, &sum);
		if (reason)
			return reason;
	}
	if (sum.l7 || row->flags & ROW_ANY_L7) {
		matched(pkt, sum.l7_word, sum.l7);
		return lead_to_proxy(pkt, policy, direction, port, row->prefixlen, peer);
	}
	known_only = row->flags & ROW_KNOWN_ONLY;
	if (sum.allow || row->flags & ROW_ANY_ALLOW) {
		/* what allows there is for everyone, and no peer's in particular */
		matched(pkt, sum.allow_word, known_only ? 0 : sum.allow);
		return 0;
	}
	return known_only ? DROP_INVALID_IDENTITY : DROP_POLICY;
}
