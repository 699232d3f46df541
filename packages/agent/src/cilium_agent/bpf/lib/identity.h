/* SPDX-License-Identifier: Apache-2.0 */
/* Whose packet the node's own stack sends, and what may be said of it to another node. */
#pragma once

static __always_inline struct ipcache_info *find_ipcache(const struct addr *addr)
{
	struct ipcache_key key = {.prefixlen = 128, .addr = *addr};

	return ipcache.lookup(&key);
}

/* The mark decides, else the ipcache of the source address; unknown is world. */
static __always_inline u32 host_identity(u32 mark, const struct addr *source)
{
	struct ipcache_info *info;

	if ((mark & MARK_MAGIC_MASK) == MARK_HOST)
		return IDENTITY_HOST;
	info = find_ipcache(source);
	return info ? info->identity : IDENTITY_WORLD;
}

/* This node is another's remote node, and numbers of local scope mean nothing there. */
static __always_inline u32 identity_on_wire(u32 identity)
{
	if (identity == IDENTITY_HOST)
		return IDENTITY_REMOTE_NODE;
	return identity < IDENTITY_LOCAL_SCOPE ? identity : IDENTITY_WORLD;
}
