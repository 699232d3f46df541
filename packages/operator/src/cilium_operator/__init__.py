# SPDX-License-Identifier: Apache-2.0
"""The cluster operator: CRDs, cluster-pool IPAM, garbage collection."""
