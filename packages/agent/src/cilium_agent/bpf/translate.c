/* SPDX-License-Identifier: Apache-2.0 */
/* Services, for traffic that the socket hooks did not translate (raw sockets, sockets older than
 * the hooks): what a pod sends to a service's address goes to a backend's. */

/* A pod that is its own backend must not see itself as the peer: its stack would answer without
 * us. The service's address stands for the client; this brings the answer to it back here. */
static __always_inline int remember_hairpin(
	const struct translation_key *tuple, const struct backend_info *backend, u32 service_id)
{
	struct translation_info back = {
		.addr = tuple->saddr,
		.port = tuple->sport,
		.flags = TRANSLATION_HAIRPIN,
		.service_id = service_id,
		.backend_id = backend->backend_id,
	};
	struct translation_key answer = {
		.saddr = backend->addr,
		.daddr = tuple->daddr,
		.sport = backend->port,
		.dport = tuple->sport,
		.proto = tuple->proto,
	};

	return translations.update(&answer, &back) ? DROP_NO_SERVICE : 0;
}

/* Remembers a flow both ways: what its next packet becomes and what the answer becomes. */
static __always_inline int remember(
	const struct translation_key *tuple, const struct backend_info *backend, u32 service_id)
{
	struct translation_info info = {
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
	if (translations.update(&answer, &info))
		return DROP_NO_SERVICE;
	info.addr = backend->addr;
	info.port = backend->port;
	info.flags = 0;
	return translations.update((struct translation_key *)tuple, &info) ? DROP_NO_SERVICE : 0;
}

/* Readdresses the packet, and notes what the stages behind need to know of the service. */
static __always_inline int readdress(struct __sk_buff *skb, struct packet *pkt,
	const struct addr *addr, __be16 port, u32 service_id)
{
	pkt->frontend = pkt->tuple.daddr;
	pkt->hairpin = same_addr(addr, &pkt->tuple.saddr);
	pkt->service_id = service_id;
	return rewrite(skb, pkt, SIDE_DESTINATION, addr, port);
}

static __always_inline int to_backend(struct __sk_buff *skb, struct packet *pkt)
{
	struct service_info *service;
	struct backend_info *backend;
	u8 reason;

	if (to_pod(pkt))
		return 0; /* a pod's own address is no frontend */
	service = find_service(&pkt->tuple.daddr, pkt->tuple.dport, pkt->tuple.proto);
	if (!service)
		return 0;
	backend = pick_backend(service, &reason);
	if (!backend || is_mapped_v4(&backend->addr) != (pkt->family == FAMILY_V4))
		return DROP_NO_SERVICE;
	if (remember(&pkt->tuple, backend, service->service_id))
		return DROP_NO_SERVICE;
	if (same_addr(&backend->addr, &pkt->tuple.saddr) &&
		remember_hairpin(&pkt->tuple, backend, service->service_id))
		return DROP_NO_SERVICE;
	return readdress(skb, pkt, &backend->addr, backend->port, service->service_id);
}

static __always_inline int translate_flow(struct __sk_buff *skb, struct packet *pkt)
{
	struct translation_info *known = translations.lookup(&pkt->tuple);
	struct backend_info *backend;
	u32 backend_id;

	if (!known)
		return to_backend(skb, pkt);
	if (known->flags & TRANSLATION_SOURCE)
		return 0; /* an answer: its source changes behind the receiver's policy */
	if (known->flags & TRANSLATION_HAIRPIN) {
		pkt->service_id = known->service_id;
		return rewrite(skb, pkt, SIDE_DESTINATION, &known->addr, known->port);
	}
	/* A backend that is gone takes its flows with it: they choose again. Its number may have
	 * gone to another one since. */
	backend_id = known->backend_id;
	backend = backends.lookup((struct backend_key *)&backend_id);
	if (!backend || backend->port != known->port || !same_addr(&backend->addr, &known->addr))
		return to_backend(skb, pkt);
	return readdress(skb, pkt, &known->addr, known->port, known->service_id);
}

int translate(struct __sk_buff *skb)
{
	struct packet *pkt = packet_scratch();
	int reason;

	if (!pkt)
		return TC_ACT_SHOT;
	pkt->translated = 1;
	reason = translate_flow(skb, pkt);
	if (reason)
		return drop(skb, pkt, reason, DIRECTION_EGRESS);
	/* A tuple that has not changed is still of no connection. */
	if (pkt->service_id)
		go(skb, CALL_EGRESS);
	else
		go(skb, CALL_JUDGE);
	return drop_unparsed(skb, DROP_MISSED_TAIL_CALL, DIRECTION_EGRESS);
}
