# SPDX-License-Identifier: Apache-2.0
"""`cilium policy …`: work on manifests, with or without a cluster."""
