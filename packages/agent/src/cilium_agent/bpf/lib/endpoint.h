/* SPDX-License-Identifier: Apache-2.0 */
/* Whose address it is: a pod of this node, the node itself, or what the ipcache says. */
#pragma once

/* Copies the row of a local address. Hash elements are recycled under readers: a copy is only
 * believed if it says whose it is, and a second look finds the row that replaced it. */
static __always_inline bool find_endpoint(const struct addr *addr, struct endpoint_info *copy)
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct endpoint_info *found = endpoints.lookup((struct endpoint_key *)addr);

		if (!found)
			return false;
		*copy = *found;
		barrier();
		if (same_addr(&found->addr, addr))
			return true;
	}
	return false;
}

/* Everything about the target: local, or its identity and the node that has it. */
static __always_inline void locate(struct packet *pkt)
{
	struct ipcache_info *info;

	pkt->local = find_endpoint(&pkt->tuple.daddr, &pkt->target);
	if (pkt->local) {
		pkt->target_identity = pkt->target.identity;
		return;
	}
	forget(&pkt->target);
	info = find_ipcache(&pkt->tuple.daddr);
	if (info) {
		pkt->target_identity = info->identity;
		pkt->node = info->tunnel;
	} else {
		pkt->target_identity = IDENTITY_WORLD;
		__builtin_memset(&pkt->node, 0, sizeof(pkt->node));
	}
}
