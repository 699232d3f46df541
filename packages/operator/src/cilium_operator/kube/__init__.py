# SPDX-License-Identifier: Apache-2.0
"""Access to the API server: credentials, failover, typed requests, the leader's lease."""
