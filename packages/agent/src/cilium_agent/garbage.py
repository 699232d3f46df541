# SPDX-License-Identifier: Apache-2.0
"""When Python looks for cycles of garbage: rarely, and not through what the start has made.

A full collection of an agent that knows a large cluster takes 100 ms, in which no policy is
enforced and no CNI request answered; reference counts free nearly everything without it.
"""

from __future__ import annotations

import gc

# New objects before a look at the young ones; a policy for a hundred pods makes about 20 000.
_YOUNG = 50_000
_OLDER = 20


def settle() -> None:
    """Leave what lives now out of all later collections; call once when the start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDER)
