/* SPDX-License-Identifier: Apache-2.0 */
/* The pinned maps, opened by path (MAPS comes from the loader, which has created them). */
#pragma once

/* clang-format off */
BPF_TABLE_PINNED("hash", struct endpoint_key, struct endpoint_info, endpoints, 65536,
		 MAPS "cilium_lxc_v1", 1);
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
/* clang-format on */
