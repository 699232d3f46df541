# SPDX-License-Identifier: Apache-2.0
"""The DNS proxy: `cilium-proxy dns`. What may be asked is asked as the pod; answers open addresses.

    pod ──► datagrams ┐         ┌ forwarding ──► server
            streams   ┴► Gate ──┤
                                └ learning ──► agent (the kernel knows the addresses) ──► pod

`questions`, `answers` and `matching` are pure; `sockets` has what is Linux's own.
"""
