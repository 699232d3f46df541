# SPDX-License-Identifier: Apache-2.0
"""L7: xDS control of stock Envoy, the DNS proxy and access records."""
