/* SPDX-License-Identifier: Apache-2.0 */
/* sk_lookup on the node's network namespace: the listener of a connection that is led to a proxy,
 * by the entry that its endpoint's policy has made. Other traffic finds none and is not touched. */

#define FAMILY_INET 2

static __always_inline struct connection_info *find_proxied(struct connection_key *key, u32 now)
{
	struct connection_info *info = connections.lookup(key);

	return info && info->flags & CONNECTION_PROXY && (s32)(info->expires - now) > 0 ? info
											: NULL;
}

int pick_listener(struct bpf_sk_lookup *ctx)
{
	struct connection_key key = {.proto = ctx->protocol, .direction = DIRECTION_EGRESS};
	struct listener_key listener = {.protocol = ctx->protocol, .family = FAMILY_V4};
	struct connection_info *info;
	struct bpf_sock *sk;
	struct addr swap;
	u32 now = seconds();
	long failed;

	if (ctx->family == FAMILY_INET) {
		map_v4(&key.local, ctx->remote_ip4);
		map_v4(&key.peer, ctx->local_ip4);
	} else {
		listener.family = FAMILY_V6;
		key.local.w[0] = ctx->remote_ip6[0];
		key.local.w[1] = ctx->remote_ip6[1];
		key.local.w[2] = ctx->remote_ip6[2];
		key.local.w[3] = ctx->remote_ip6[3];
		key.peer.w[0] = ctx->local_ip6[0];
		key.peer.w[1] = ctx->local_ip6[1];
		key.peer.w[2] = ctx->local_ip6[2];
		key.peer.w[3] = ctx->local_ip6[3];
	}
	key.local_port = ctx->remote_port;
	key.peer_port = bpf_htons(ctx->local_port);
	info = find_proxied(&key, now); /* the client's own policy */
	if (!info) {
		swap = key.local;
		key.local = key.peer;
		key.peer = swap;
		key.peer_port = key.local_port;
		key.local_port = bpf_htons(ctx->local_port);
		key.direction = DIRECTION_INGRESS;
		info = find_proxied(&key, now); /* the server's */
	}
	if (!info)
		return SK_PASS;
	listener.port = info->proxy_port;
	sk = (void *)listeners.lookup(&listener);
	if (!sk)
		return SK_DROP;
	failed = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return failed ? SK_DROP : SK_PASS;
}
