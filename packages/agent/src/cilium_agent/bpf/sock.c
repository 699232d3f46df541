/* SPDX-License-Identifier: Apache-2.0 */
/* Socket hooks on the node's cgroup: a service's address becomes a backend's before any packet
 * exists, and the socket's owner goes on seeing the address that it asked for. */

static __always_inline u16 service_protocol(const struct bpf_sock_addr *ctx)
{
	if (ctx->protocol == IPPROTO_MPTCP)
		return IPPROTO_TCP;
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP ? ctx->protocol : 0;
}

static __always_inline void get_v6(struct bpf_sock_addr *ctx, struct addr *addr)
{
	addr->w[0] = ctx->user_ip6[0];
	addr->w[1] = ctx->user_ip6[1];
	addr->w[2] = ctx->user_ip6[2];
	addr->w[3] = ctx->user_ip6[3];
}

static __always_inline void set_v6(struct bpf_sock_addr *ctx, const struct addr *addr)
{
	ctx->user_ip6[0] = addr->w[0];
	ctx->user_ip6[1] = addr->w[1];
	ctx->user_ip6[2] = addr->w[2];
	ctx->user_ip6[3] = addr->w[3];
}

/* Notes what the owner asked for, so that answers and getpeername can say it. */
static __always_inline void remember_frontend(struct bpf_sock_addr *ctx, u16 proto,
	const struct addr *frontend, __be16 port, const struct backend_info *backend,
	u32 service_id)
{
	struct reverse_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.addr = backend->addr,
		.port = backend->port,
		.proto = proto,
	};
	struct reverse_info info = {.addr = *frontend, .port = port, .service_id = service_id};

	if (reverse.update(&key, &info))
		count(REASON_REVERSE_FAILED, DIRECTION_EGRESS, 0);
}

/* The backend to use instead of `addr`, or NULL: then `*refuse` tells whether the call must fail.
 */
static __always_inline struct backend_info *backend_for(
	struct bpf_sock_addr *ctx, const struct addr *addr, bool *refuse)
{
	u16 proto = service_protocol(ctx);
	__be16 port = ctx->user_port;
	struct backend_info *backend;
	struct service_info *service;
	u8 reason;

	*refuse = false;
	if (!proto)
		return NULL;
	service = find_service(addr, port, proto);
	if (!service)
		return NULL;
	backend = pick_backend(service, &reason);
	if (!backend || is_mapped_v4(&backend->addr) != is_mapped_v4(addr)) {
		count(backend ? REASON_NO_BACKEND : reason, DIRECTION_EGRESS, 0);
		/* connect and sendmsg then say so at once: "No route to host" */
		bpf_set_retval(-EHOSTUNREACH);
		*refuse = true;
		return NULL;
	}
	remember_frontend(ctx, proto, addr, port, backend, service->service_id);
	return backend;
}

static __always_inline int forward_v4(struct bpf_sock_addr *ctx)
{
	struct backend_info *backend;
	struct addr addr;
	bool refuse;

	map_v4(&addr, ctx->user_ip4);
	backend = backend_for(ctx, &addr, &refuse);
	if (!backend)
		return !refuse;
	ctx->user_ip4 = backend->addr.w[3];
	ctx->user_port = backend->port;
	return 1;
}

static __always_inline int forward_v6(struct bpf_sock_addr *ctx)
{
	struct backend_info *backend;
	struct addr addr;
	bool refuse;

	get_v6(ctx, &addr);
	backend = backend_for(ctx, &addr, &refuse);
	if (!backend)
		return !refuse;
	set_v6(ctx, &backend->addr);
	ctx->user_port = backend->port;
	return 1;
}

static __always_inline struct reverse_info *frontend_of(
	struct bpf_sock_addr *ctx, const struct addr *addr)
{
	struct reverse_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.addr = *addr,
		.port = ctx->user_port,
		.proto = service_protocol(ctx),
	};

	return reverse.lookup(&key);
}

static __always_inline void back_v4(struct bpf_sock_addr *ctx)
{
	struct reverse_info *frontend;
	struct addr addr;

	map_v4(&addr, ctx->user_ip4);
	frontend = frontend_of(ctx, &addr);
	if (!frontend)
		return;
	ctx->user_ip4 = frontend->addr.w[3];
	ctx->user_port = frontend->port;
}

static __always_inline void back_v6(struct bpf_sock_addr *ctx)
{
	struct reverse_info *frontend;
	struct addr addr;

	get_v6(ctx, &addr);
	frontend = frontend_of(ctx, &addr);
	if (!frontend)
		return;
	set_v6(ctx, &frontend->addr);
	ctx->user_port = frontend->port;
}

int sock4_connect(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx);
}

int sock6_connect(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx);
}

int sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx);
}

int sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx);
}

int sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	back_v4(ctx);
	return 1;
}

int sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	back_v6(ctx);
	return 1;
}

int sock4_getpeername(struct bpf_sock_addr *ctx)
{
	back_v4(ctx);
	return 1;
}

int sock6_getpeername(struct bpf_sock_addr *ctx)
{
	back_v6(ctx);
	return 1;
}
