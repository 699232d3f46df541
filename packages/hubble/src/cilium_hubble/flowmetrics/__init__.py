# SPDX-License-Identifier: Apache-2.0
"""Metrics of flows that `hubble.metrics.enabled` asks for, under upstream's names and options."""
