# SPDX-License-Identifier: Apache-2.0
"""Services and EndpointSlices to load-balancing tables."""
