/* SPDX-License-Identifier: Apache-2.0 */
/* Which proxy port an L7 verdict leads to, and what that means for a connection that is known. */
#pragma once

/* Hash elements are recycled under readers, and another rule set's port would let through what
 * this one does not: a value is only believed if it says whose it is. */
static __always_inline __be16 find_redirect(const struct redirect_key *key)
{
	struct redirect_info *found;
	__be16 port;

#pragma unroll
	for (int i = 0; i < 2; i++) {
		found = redirects.lookup((struct redirect_key *)key);
		if (!found)
			return 0;
		port = found->port;
		barrier();
		if (found->policy == key->policy && found->identity == key->identity &&
			found->direction == key->direction && found->protocol == key->protocol &&
			found->row_port == key->row_port && found->prefixlen == key->prefixlen)
			return port;
	}
	return 0;
}

/* Notes the port of the row's rule set for the peer, or of the one for everybody: it holds for
 * peers that have none of their own, as long as those of their own are not in force yet too.
 * Nothing there: nobody listens, and what is not inspected is not let through. */
static __always_inline u8 lead_to_proxy(
	struct packet *pkt, u32 policy, u8 direction, __be16 port, u8 prefixlen, u32 peer)
{
	u32 any_port = PREFIX_PORT - prefixlen;
	struct redirect_key key = {
		.policy = policy,
		.identity = peer,
		.direction = direction,
		.protocol = pkt->tuple.proto,
		.row_port = port & bpf_htons(0xffff << (any_port & 31)),
		.prefixlen = prefixlen,
	};

	if (!pkt->has_ports || any_port > 16)
		return DROP_NO_LISTENER;
	pkt->proxy_port = find_redirect(&key);
	if (!pkt->proxy_port) {
		key.identity = 0;
		pkt->proxy_port = find_redirect(&key);
	}
	return pkt->proxy_port ? 0 : DROP_NO_LISTENER;
}

/* Another proxy's port of the same rule set makes no difference to a connection. */
static __always_inline bool same_rule_set(__be16 a, __be16 b)
{
	return bpf_ntohs(a) % PROXY_BLOCK == bpf_ntohs(b) % PROXY_BLOCK;
}

/* Whether the connection is led where it would be led now (0: to no proxy). */
static __always_inline bool leads_to(const struct connection_info *info, __be16 port)
{
	if (!(info->flags & CONNECTION_PROXY))
		return !port;
	return port && same_rule_set(info->proxy_port, port);
}

/* Leads a known connection as it has just been judged. What is no longer led to a proxy meets the
 * server, which does not know it and resets it. */
static __always_inline void lead(struct packet *pkt, struct connection_info *info)
{
	bool proxied = info->flags & CONNECTION_PROXY;

	if (!pkt->proxy_port) {
		info->flags &= ~(CONNECTION_PROXY | CONNECTION_TURNED);
		info->proxy_port = 0;
		return;
	}
	if (pkt->tuple.proto == IPPROTO_TCP) {
		if (!proxied)
			info->flags |= CONNECTION_TURNED;
		else
			pkt->cut = !same_rule_set(info->proxy_port, pkt->proxy_port);
	}
	info->flags |= CONNECTION_PROXY;
	info->proxy_port = pkt->proxy_port;
	pkt->proxy_port = proxy_of(pkt, info);
}
