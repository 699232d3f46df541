/* SPDX-License-Identifier: Apache-2.0 */
/* Which backend a service's next connection gets. Shared by the socket and the packet path. */
#pragma once

static __always_inline struct service_info *find_service(
	const struct addr *addr, __be16 port, u8 proto)
{
	struct service_key key = {.addr = *addr, .port = port, .proto = proto};

	return services.lookup(&key);
}

/* A random slot's backend. NULL when there is none; the reason is then in `reason`. */
static __always_inline struct backend_info *pick_backend(
	const struct service_info *service, u8 *reason)
{
	struct slot_key slot_key = {.service_id = service->service_id};
	struct backend_info *backend;
	struct slot_info *slot;

	*reason = REASON_NO_SLOT;
	if (service->count == 0)
		return NULL;
	slot_key.slot = bpf_get_prandom_u32() % service->count;
	slot = slots.lookup(&slot_key);
	/* Hash elements are recycled under readers: a value is only believed if it says whose it
	 * is. */
	if (!slot || slot->service_id != service->service_id)
		return NULL;
	*reason = REASON_NO_BACKEND;
	u32 wanted = slot->backend_id;

	backend = backends.lookup((struct backend_key *)&wanted);
	return backend && backend->backend_id == wanted ? backend : NULL;
}
