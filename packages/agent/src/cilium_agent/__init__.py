# SPDX-License-Identifier: Apache-2.0
"""The node agent: CNI, endpoints, identity, ipcache, services and the eBPF datapath."""
