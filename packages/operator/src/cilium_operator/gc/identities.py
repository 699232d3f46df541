# SPDX-License-Identifier: Apache-2.0
"""Which CiliumIdentity objects to mark, to unmark and to delete.

An identity that no CiliumEndpoint uses for the heartbeat timeout is marked by an annotation;
still unused one interval later, it is deleted at exactly the version that was marked. An agent
removes the mark before it takes the identity into use, and again when it sees one on an identity
that it uses; either makes the deletion fail.
The mark is in the object, so a crash loses nothing. The decision is pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

import msgspec

from cilium_core.crds.models import ObjectMeta
from cilium_core.identity import HEARTBEAT_MARK


class Action(Enum):
    """What to do with one identity."""

    KEEP = "keep"
    MARK = "mark"
    UNMARK = "unmark"
    DELETE = "delete"


class Heartbeats:
    """When each identity was seen in use last, in seconds of one monotonic clock.

    Identities that were there at the first look count as used then: a new operator waits the
    whole timeout before it marks anything.
    """

    def __init__(self, timeout: float) -> None:
        """`timeout` is how long an identity may go unused before it is marked."""
        self._timeout = timeout
        self._last: dict[str, float] = {}

    def look(self, existing: Iterable[str], used: Iterable[str], now: float) -> None:
        """Take in one look at the cluster: names of all identities and of those in use."""
        in_use = set(used)
        self._last = {
            name: now if name in in_use else self._last.get(name, now) for name in existing
        }

    def silent(self, name: str, now: float) -> bool:
        """Tell whether the identity has been unused for the timeout."""
        return now - self._last[name] >= self._timeout


class Times(msgspec.Struct, frozen=True):
    """Both clocks of one look: monotonic seconds, and the time of day for the marks."""

    monotonic: float
    wall: datetime


def decide(
    identity: ObjectMeta, in_use: bool, heartbeats: Heartbeats, interval: float, now: Times
) -> Action:
    """Return what to do with one identity. `interval` (s) lies between mark and deletion."""
    marked = identity.annotations.get(HEARTBEAT_MARK)
    if in_use:
        return Action.KEEP if marked is None else Action.UNMARK
    if marked is None:
        silent = heartbeats.silent(identity.name, now.monotonic)
        return Action.MARK if silent else Action.KEEP
    since = _parse(marked)
    if since is None:
        return Action.MARK
    return Action.DELETE if (now.wall - since).total_seconds() >= interval else Action.KEEP


def stamp(now: datetime) -> str:
    """Return the text of a mark made now (RFC 3339)."""
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def _parse(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None
