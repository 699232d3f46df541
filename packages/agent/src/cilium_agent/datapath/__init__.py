# SPDX-License-Identifier: Apache-2.0
"""The kernel side of the agent: pinned maps, programs and their attachment. Knows no Kubernetes."""
