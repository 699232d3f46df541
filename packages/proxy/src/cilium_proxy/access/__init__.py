# SPDX-License-Identifier: Apache-2.0
"""What Envoy did, as redacted records for hubble."""
