# SPDX-License-Identifier: Apache-2.0
"""For the whole repository: Hypothesis profiles without deadlines, and an interrupt that works."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# A busy machine is no failure: speed is asserted in bench/, as ratios.
settings.register_profile("default", deadline=None, print_blob=True)
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "20000"))
settings.register_profile("soak", deadline=None, max_examples=EXAMPLES, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell's background job ignores SIGINT, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
