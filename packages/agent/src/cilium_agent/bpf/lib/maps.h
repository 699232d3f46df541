/* SPDX-License-Identifier: Apache-2.0 */
/* The pinned maps, opened by path (MAPS comes from the loader, which has created them). */
#pragma once

/* clang-format off */
BPF_TABLE_PINNED("hash", struct endpoint_key, struct endpoint_info, endpoints, 65536,
		 MAPS "cilium_lxc_v2", 1);
BPF_TABLE_PINNED("lpm_trie", struct ipcache_key, struct ipcache_info, ipcache, 512000,
		 MAPS "cilium_ipcache_v1", 1);
BPF_TABLE_PINNED("lpm_trie", struct ipcache_key, struct tunnel_info, tunnels, 65536,
		 MAPS "cilium_tunnel_v1", 1);
BPF_TABLE_PINNED("hash", struct service_key, struct service_info, services, 65536,
		 MAPS "cilium_lb_services_v1", 1);
BPF_TABLE_PINNED("hash", struct slot_key, struct slot_info, slots, 262144,
		 MAPS "cilium_lb_slots_v1", 1);
BPF_TABLE_PINNED("hash", struct backend_key, struct backend_info, backends, 65536,
		 MAPS "cilium_lb_backends_v1", 1);
BPF_TABLE_PINNED("lru_hash", struct reverse_key, struct reverse_info, reverse, 131072,
		 MAPS "cilium_lb_reverse_sk_v1", 0);
BPF_TABLE_PINNED("lru_hash", struct translation_key, struct translation_info, translations, 131072,
		 MAPS "cilium_lb_translations_v1", 0);
BPF_TABLE_PINNED("percpu_array", u32, struct metrics_info, metrics, 1024,
		 MAPS "cilium_metrics_v1", 0);
BPF_TABLE_PINNED("hash", struct bits_key, struct bits_info, policy_bits, 1048576,
		 MAPS "cilium_policy_bits_v1", 1);
BPF_TABLE_PINNED("lpm_trie", struct row_key, struct row_info, policy_rows, 262144,
		 MAPS "cilium_policy_rows_v1", 1);
BPF_TABLE_PINNED("hash", struct list_key, struct list_info, policy_lists, 65536,
		 MAPS "cilium_policy_lists_v1", 1);
BPF_TABLE_PINNED("lru_hash", struct connection_key, struct connection_info, connections, 262144,
		 MAPS "cilium_ct_v1", 0);
BPF_TABLE_PINNED("lru_hash", struct fragment_key, struct fragment_info, fragments, 8192,
		 MAPS "cilium_frags_v1", 0);
BPF_TABLE_PINNED("hash", struct redirect_key, struct redirect_info, redirects, 262144,
		 MAPS "cilium_redirects_v1", 1);
BPF_TABLE_PINNED("sockhash", struct listener_key, struct listener_info, listeners, 32768,
		 MAPS "cilium_proxy_listeners_v1", 0);
BPF_TABLE_PINNED("percpu_array", u32, struct event_lost_info, events_lost, 16,
		 MAPS "cilium_event_lost_v1", 0);
BPF_TABLE_PINNED("array", u32, struct config_info, config, 16,
		 MAPS "cilium_config_v1", 0);
/* clang-format on */

/* bcc's own macro for rings knows no pin; this is what it expands to, with one. */
struct events_table_t {
	int key;
	u32 leaf;
	int (*ringbuf_output)(void *, u64, u64);
	void *(*ringbuf_reserve)(u64);
	void (*ringbuf_discard)(void *, u64);
	void (*ringbuf_submit)(void *, u64);
	u32 max_entries;
};
__attribute__((section("maps/ringbuf:" MAPS "cilium_events_v1"))) struct events_table_t events = {
	.max_entries = 4 << 20};
