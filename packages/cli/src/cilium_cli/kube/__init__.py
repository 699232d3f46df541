# SPDX-License-Identifier: Apache-2.0
"""A thin client of the Kubernetes API: kubeconfig, requests, exec. It knows nothing of Cilium."""
