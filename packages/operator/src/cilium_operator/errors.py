# SPDX-License-Identifier: Apache-2.0
"""Errors of the operator. Each text says what is wrong and where to look."""

from __future__ import annotations

from cilium_core.errors import CiliumError


class ApiError(CiliumError):
    """The API server refused a request. `status` is the HTTP code, `reason` its word for it."""

    def __init__(self, status: int, reason: str, message: str, action: str) -> None:
        """Keep the parts; the text is `action: message (status reason)`."""
        super().__init__(f"{action}: {message} ({status} {reason})")
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        """The object is not there."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else changed the object first, or a precondition did not hold."""
        return self.status == 409


class PoolExhausted(CiliumError):
    """No pool of a family has a free CIDR left."""

    def __init__(self, family: int, pools: str) -> None:
        """`pools` lists the configured CIDRs, for the message."""
        super().__init__(
            f"no free IPv{family} pod CIDR left in {pools}; "
            f"add a range to cluster-pool-ipv{family}-cidr"
        )
        self.family = family


class LeadershipLost(CiliumError):
    """The lease could not be renewed in time; the process must end at once."""
