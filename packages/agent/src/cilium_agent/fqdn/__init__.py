# SPDX-License-Identifier: Apache-2.0
"""Names of toFQDNs: what pods are answered becomes identities of addresses, before they know it.

    DNS proxy ──► service ──► Names ──► ipcache (and bits, when an identity is new)
                                └─────► journal

`cilium_core.fqdn` is the memory of answers; here it meets identities, the kernel and the disk.
"""
