# SPDX-License-Identifier: Apache-2.0
"""A GetFlows request, checked: what to show, from where, until when. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from cilium_core.errors import FieldError
from cilium_core.proto.flow_pb2 import Flow
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.filters.checks import Check
from cilium_hubble.filters.compiling import compile_lists
from cilium_hubble.flows.chunk import Names

_NANO = 1_000_000_000


class Query(NamedTuple):
    """What a subscriber wants. Times are ns since the epoch; `number` 0 is no limit.

    `check` reads the names of now; `check_of` makes one that reads others.
    """

    check: Check
    check_of: Callable[[Names], Check]
    number: int
    first: bool
    follow: bool
    since: int | None
    until: int | None
    mask: FieldMask | None

    @property
    def backwards(self) -> bool:
        """Whether the last `number` flows are wanted."""
        return bool(self.number) and self.since is None and not self.first

    @property
    def past(self) -> bool:
        """Whether flows are meant that left memory: by a time, or the first ones there are.

        The last ones are those in memory, as users know it: a filter that matches few flows must
        not have the whole history read.
        """
        return self.since is not None or self.until is not None or self.first


def parse(request: GetFlowsRequest, names: Names) -> Query:
    """Check a request. FieldError with the path of what cannot be honoured."""
    if request.first and request.follow:
        raise FieldError("first", "cannot be specified with follow")
    if request.HasField("extensions"):
        raise FieldError("extensions", "is not supported: this version knows none")
    check_of = partial(compile_lists, request.whitelist, request.blacklist)
    return Query(
        check_of(names),
        check_of,
        request.number,
        request.first,
        request.follow,
        _time(request, "since"),
        _time(request, "until"),
        _mask(request),
    )


def _time(request: GetFlowsRequest, name: str) -> int | None:
    if not request.HasField(name):
        return None
    value: Timestamp = getattr(request, name)
    if not 0 <= value.nanos < _NANO:
        raise FieldError(name, "is not a time: nanos are from 0 to 999999999")
    return value.seconds * _NANO + value.nanos


def _mask(request: GetFlowsRequest) -> FieldMask | None:
    flow: Any = Flow.DESCRIPTOR
    for path in request.field_mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(flow):
            raise FieldError("field_mask", f"{path!r} is not a field of a flow")
    return request.field_mask if request.field_mask.paths else None
