# SPDX-License-Identifier: Apache-2.0
"""The one table of `skb->mark` values, shared by the C programs (through -D) and Python.

The magic sits in 0x0F00 as upstream's does, the identity in the upper 16 bits.
"""

from __future__ import annotations

from enum import IntEnum

MAGIC_MASK = 0x0F00
IDENTITY_SHIFT = 16


class Mark(IntEnum):
    """What a packet's mark says of where it came from."""

    TO_PROXY = 0x0200
    DNS_PROXY = 0x0800
    INGRESS_PROXY = 0x0A00
    EGRESS_PROXY = 0x0B00
    HOST = 0x0C00


def c_defines() -> dict[str, int]:
    """Return the macro names and values that the C programs are compiled with."""
    marks = {f"MARK_{member.name}": int(member) for member in Mark}
    return {"MARK_MAGIC_MASK": MAGIC_MASK, "MARK_IDENTITY_SHIFT": IDENTITY_SHIFT, **marks}
