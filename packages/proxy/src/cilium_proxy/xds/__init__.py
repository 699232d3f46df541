# SPDX-License-Identifier: Apache-2.0
"""The discovery service that Envoy asks: incremental, aggregated, on a unix socket."""
