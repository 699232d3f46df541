# SPDX-License-Identifier: Apache-2.0
"""What a monitor client asks for: one line of JSON. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from cilium_core.errors import FieldError
from cilium_core.layouts.events import EventType
from cilium_hubble.flows.chunk import Mask
from cilium_hubble.flows.words import EVENT_TYPES
from cilium_hubble.kernel.dtypes import Rows

Format = Literal["info", "verbose", "json"]
_RECORDED = {int(kind) for kind in EventType}
_INGRESS = 1


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Which events and how. Empty lists ask for all; endpoints are by id, words of a list ORed.

    `from_` is the endpoint that saw the event, `to` the one that the packet goes to, `related_to`
    either.
    """

    types: tuple[str, ...] = ()
    format: Format = "info"
    from_: tuple[int, ...] = msgspec.field(name="from", default=())
    to: tuple[int, ...] = ()
    related_to: tuple[int, ...] = ()
    numeric: bool = False

    def choose(self, events: Rows) -> Mask:
        """Return which events of a batch are asked for."""
        mask: Mask = np.ones(len(events), bool)
        if self.types:
            mask &= np.isin(events["type"], [EVENT_TYPES[name] for name in self.types])
        seen, targets = events["endpoint_id"], destinations(events)
        if self.from_:
            mask &= np.isin(seen, self.from_)
        if self.to:
            mask &= np.isin(targets, self.to)
        if self.related_to:
            mask &= np.isin(seen, self.related_to) | np.isin(targets, self.related_to)
        return mask


def destinations(events: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Return the local endpoints that packets go to: those that see ingress, 0 for the others."""
    return np.where(events["direction"] == _INGRESS, events["endpoint_id"], 0)


def parse(line: bytes) -> Request:
    """Return the request of a line. FieldError names what cannot be honoured."""
    try:
        request = msgspec.json.decode(line, type=Request)
    except msgspec.MsgspecError as error:
        raise FieldError("request", str(error)) from error
    for index, name in enumerate(request.types):
        path = f"types[{index}]"
        if name not in EVENT_TYPES:
            raise FieldError(path, f"{name!r} is not one of {', '.join(EVENT_TYPES)}")
        if EVENT_TYPES[name] not in _RECORDED:
            raise FieldError(path, f"{name!r} events are not recorded yet")
    return request
