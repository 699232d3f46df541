/* SPDX-License-Identifier: Apache-2.0 */
/* Second stage: services, for traffic that the socket hooks did not translate (raw sockets,
 * sockets older than the hooks), and the way back of such flows. */

/* Remembers a flow both ways: what its next packet becomes and what the answer becomes. */
static __always_inline int remember(
	const struct translation_key *tuple, const struct backend_info *backend, u32 service_id)
{
	struct translation_info forward = {
		.addr = backend->addr,
		.port = backend->port,
		.service_id = service_id,
		.backend_id = backend->backend_id,
	};
	struct translation_info back = {
		.addr = tuple->daddr,
		.port = tuple->dport,
		.flags = TRANSLATION_SOURCE,
		.service_id = service_id,
		.backend_id = backend->backend_id,
	};
	struct translation_key answer = {
		.saddr = backend->addr,
		.daddr = tuple->saddr,
		.sport = backend->port,
		.dport = tuple->sport,
		.proto = tuple->proto,
	};

	/* The way back first: a flow that could not be answered is not opened. */
	if (translations.update(&answer, &back))
		return DROP_NO_SERVICE;
	return translations.update((struct translation_key *)tuple, &forward) ? DROP_NO_SERVICE : 0;
}

static __always_inline int to_backend(struct __sk_buff *skb, struct packet *pkt)
{
	struct endpoint_info *local = endpoints.lookup((struct endpoint_key *)&pkt->tuple.daddr);
	struct service_info *service;
	struct backend_info *backend;
	u8 reason;

	if (local && !(local->flags & ENDPOINT_HOST))
		return 0; /* a pod's own address is no frontend */
	service = find_service(&pkt->tuple.daddr, pkt->tuple.dport, pkt->tuple.proto);
	if (!service) {
		pkt->elsewhere = !local; /* spares the last stage its lookup */
		return 0;
	}
	backend = pick_backend(service, &reason);
	if (!backend || is_mapped_v4(&backend->addr) != (pkt->family == FAMILY_V4))
		return DROP_NO_SERVICE;
	if (remember(&pkt->tuple, backend, service->service_id))
		return DROP_NO_SERVICE;
	return rewrite(skb, pkt, SIDE_DESTINATION, &backend->addr, backend->port);
}

static __always_inline int translate_flow(struct __sk_buff *skb, struct packet *pkt)
{
	struct translation_info *known = translations.lookup(&pkt->tuple);
	struct backend_info *backend;
	u32 backend_id;

	if (known && known->flags & TRANSLATION_SOURCE)
		return rewrite(skb, pkt, SIDE_SOURCE, &known->addr, known->port);
	if (pkt->origin != ORIGIN_CONTAINER)
		return 0;
	if (!known)
		return to_backend(skb, pkt);
	/* A backend that is gone takes its flows with it: they choose again. Its number may have
	 * gone to another one since. */
	backend_id = known->backend_id;
	backend = backends.lookup((struct backend_key *)&backend_id);
	if (!backend || backend->port != known->port || !same_addr(&backend->addr, &known->addr))
		return to_backend(skb, pkt);
	return rewrite(skb, pkt, SIDE_DESTINATION, &known->addr, known->port);
}

int translate(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	int reason;

	if (!pkt)
		return TC_ACT_SHOT;
	if (pkt->has_ports) {
		reason = translate_flow(skb, pkt);
		if (reason)
			return drop(skb, reason, direction_of(pkt));
	}
	calls.call(skb, CALL_DELIVER);
	return drop(skb, DROP_MISSED_TAIL_CALL, direction_of(pkt));
}
