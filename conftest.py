# SPDX-License-Identifier: Apache-2.0
"""Hypothesis profiles for the whole repository: no wall-clock deadline in any test."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine is no failure: speed is asserted in bench/, as ratios.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=20_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
