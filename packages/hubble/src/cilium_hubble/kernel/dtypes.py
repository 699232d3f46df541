# SPDX-License-Identifier: Apache-2.0
"""The layouts of `cilium_core` as NumPy types, so that a batch of records is one array. Pure."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cilium_core.layouts.events import Event
from cilium_core.layouts.record import Record, Wire

Rows = NDArray[Any]  # a structured array

_CODES = {"B": "u1", "H": "u2", "I": "u4", "Q": "u8"}


def dtype_of(layout: type[Record]) -> np.dtype[Any]:
    """Return the structured type of a layout; byte strings become arrays of u1."""
    hints = get_type_hints(layout, include_extras=True)
    formats: list[Any] = []
    for field in layout.layout():
        wire = next(extra for extra in hints[field.name].__metadata__ if isinstance(extra, Wire))
        if wire.code.endswith("s"):
            formats.append(("u1", (field.size,)))
        else:
            formats.append(("=>"[wire.big_endian]) + _CODES[wire.code])
    return np.dtype(
        {
            "names": [field.name for field in layout.layout()],
            "formats": formats,
            "offsets": [field.offset for field in layout.layout()],
            "itemsize": layout.SIZE,
        }
    )


EVENT = dtype_of(Event)
