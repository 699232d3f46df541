/* SPDX-License-Identifier: Apache-2.0 */
/* Whose packet the node's own stack sends, and what may be said of it to another node. */
#pragma once

static __always_inline struct ipcache_info *find_ipcache(const struct addr *addr)
{
	struct ipcache_key key = {.prefixlen = 128, .addr = *addr};

	return ipcache.lookup(&key);
}

/* Who is outside: with both families in use, policies tell them apart. */
static __always_inline u32 world_of(const struct packet *pkt)
{
	if (!ENABLE_IPV4 || !ENABLE_IPV6)
		return IDENTITY_WORLD;
	return pkt->family == FAMILY_V4 ? IDENTITY_WORLD_IPV4 : IDENTITY_WORLD_IPV6;
}

/* The mark decides, else the ipcache of the source address; unknown is world. What came in by a
 * device is not the node's own, whatever its source: it is masqueraded or forged (IPv6 lets that
 * pass). */
static __always_inline u32 host_identity(const struct __sk_buff *skb, const struct packet *pkt)
{
	struct ipcache_info *info;

	if ((skb->mark & MARK_MAGIC_MASK) == MARK_HOST)
		return IDENTITY_HOST;
	info = find_ipcache(&pkt->tuple.saddr);
	if (!info)
		return IDENTITY_WORLD;
	if (info->identity == IDENTITY_HOST && skb->ingress_ifindex)
		return world_of(pkt);
	return info->identity;
}

/* What another node says of who sends. Of the world outside it says no more than that, and who
 * there has an identity of its own (as what a rule excepts) has one on each node. */
static __always_inline u32 identity_off_wire(const struct packet *pkt, u32 said)
{
	struct ipcache_info *info;

	if (said != IDENTITY_WORLD && said != IDENTITY_WORLD_IPV4 && said != IDENTITY_WORLD_IPV6)
		return said;
	info = find_ipcache(&pkt->tuple.saddr);
	return info && info->identity >= IDENTITY_LOCAL_SCOPE ? info->identity : said;
}

/* This node is another's remote node, and numbers of local scope mean nothing there. */
static __always_inline u32 identity_on_wire(const struct packet *pkt)
{
	u32 identity = pkt->source_identity;

	if (identity == IDENTITY_HOST)
		return IDENTITY_REMOTE_NODE;
	return identity < IDENTITY_LOCAL_SCOPE ? identity : world_of(pkt);
}
