# SPDX-License-Identifier: Apache-2.0
"""Policy decisions without a cluster: manifests in, verdicts and their reasons out."""

from cilium_core.policy.trace.judge import Judgement, judge
from cilium_core.policy.trace.probe import Probe, parse_probe
from cilium_core.policy.trace.world import World

__all__ = ["Judgement", "Probe", "World", "judge", "parse_probe"]
